"""One optimizer step, and one evaluation: ordinary PyTorch, no Ray, one device.

T = tokens of a packed row, S = supervised positions, H = hidden size, V = vocabulary
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from aria_ray.errors import TrainingError
from aria_ray.training.batch import Pack
from aria_ray.training.curriculum import Evaluation
from aria_ray.training.model import hidden_states, output_head, trainable_parameters
from aria_ray.training.settings import SumOverWorkers

MAX_GRADIENT_NORM = 1.0


def supervised_logits(model: nn.Module, pack: Pack, device: torch.device) -> Tensor:
    """Logits (S, V) at the supervised positions only: the output head is a fifth of a 135M model's work per token."""
    hidden = hidden_states(
        model,
        pack.input_ids.to(device)[None],  # (1, T)
        pack.attention_mask.to(device)[None, None],  # (1, 1, T, T)
        pack.position_ids.to(device)[None],  # (1, T)
    )[0]  # (T, H)
    return output_head(model)(hidden[pack.predict_from.to(device)])  # (S, V)


def train_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    packs: Sequence[Pack],
    rate: float,
    sum_over_workers: SumOverWorkers,
) -> float:
    """One step over this worker's packs at learning rate `rate`. Returns the mean loss per target over all workers, in nats.

    The loss is normalised by the targets of all workers, so it does not depend on how packs are dealt out.

    Raises:
        TrainingError: the loss is not finite. Weights are as before the step.
    """
    device = next(model.parameters()).device
    num_targets = sum_over_workers(torch.tensor(float(sum(pack.num_targets for pack in packs)), device=device)).item()
    optimizer.zero_grad(set_to_none=False)
    total = torch.zeros((), device=device)
    for pack in packs:
        logits = supervised_logits(model, pack, device).float()
        loss = functional.cross_entropy(logits, pack.targets.to(device), reduction="sum") / num_targets
        loss.backward()
        total += loss.detach()
    loss_value = float(sum_over_workers(total))
    if not math.isfinite(loss_value):
        raise TrainingError(f"loss is {loss_value}, must be finite; lower training.learning_rate (now {rate:.2e})")
    parameters = list(trainable_parameters(model).values())
    for parameter in parameters:
        if parameter.grad is None:  # a worker whose share of the packs was empty
            parameter.grad = torch.zeros_like(parameter)
        parameter.grad = sum_over_workers(parameter.grad)
    torch.nn.utils.clip_grad_norm_(parameters, MAX_GRADIENT_NORM)
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    return loss_value


def evaluate(model: nn.Module, packs: Sequence[Pack], stage: int) -> Evaluation:
    """Teacher-forced exact match of decisions on held-out packs.

    A turn counts if the most likely token equals the target at every position of its decision. That is the same as greedy
    decoding producing the decision after the reference's topic: it leaves the reference where the argmax first differs.
    """
    model.eval()
    device = next(model.parameters()).device
    right: list[bool] = []
    difficulty: list[int] = []
    loss, num_targets = 0.0, 0
    for pack in packs:
        with torch.no_grad():
            logits = supervised_logits(model, pack, device).float()
        targets = pack.targets.to(device)
        loss += functional.cross_entropy(logits, targets, reduction="sum").item()
        num_targets += pack.num_targets
        wrong = (logits.argmax(-1) != targets).cpu() & pack.is_decision
        failed = set(pack.turn_index[wrong].tolist())
        right += [index not in failed for index in range(len(pack.turns))]
        difficulty += [turn.difficulty for turn in pack.turns]
    model.train()
    met = [ok for ok, level in zip(right, difficulty, strict=True) if level <= stage + 1]
    return Evaluation(
        stage_accuracy=sum(met) / len(met) if met else 0.0,
        accuracy=sum(right) / len(right),
        loss=loss / num_targets,
        num_turns=len(right),
    )
