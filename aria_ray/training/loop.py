"""One optimizer step and one evaluation, in plain PyTorch on one device, without Ray.

T = tokens of a packed row, S = supervised positions, H = hidden size, V = vocabulary
"""

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn import functional

from aria_ray.errors import TrainingError
from aria_ray.planning.memory import LOGIT_ROWS
from aria_ray.training.batch import Pack, halves
from aria_ray.training.curriculum import Evaluation
from aria_ray.training.forward import hidden_states, logits
from aria_ray.training.model import trainable_parameters
from aria_ray.training.worker_args import SumOverWorkers

MAX_GRADIENT_NORM = 1.0
"""Norm to which gradients are clipped."""


def supervised_states(model: nn.Module, pack: Pack) -> Tensor:
    """Hidden states (S, H) of the supervised positions, the only ones that need the output head."""
    device = next(model.parameters()).device
    hidden = hidden_states(model, pack)[0]  # (T, H)
    return hidden.index_select(0, pack.predict_from.to(device))


def backward(model: nn.Module, pack: Pack, scale: float) -> Tensor:
    """Add the gradient of `scale` times the pack's weighted sum of cross entropies, and return the scaled sum.

    The output head and the loss run forward and backward chunk by chunk, so the logits (S, V) are never in memory at once.
    """
    states = supervised_states(model, pack)
    leaf = states.detach().requires_grad_()
    total = torch.zeros((), device=leaf.device, dtype=torch.float64)
    for rows in _chunks(pack.num_targets):
        loss = scale * _loss_sum(logits(model, leaf[rows]), pack, rows)
        loss.backward()
        total += loss.detach()
    states.backward(leaf.grad)
    return total


def train_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    packs: Sequence[Pack],
    rate: float,
    sum_over_workers: SumOverWorkers,
    on_out_of_memory: Callable[[int], None],
) -> float:
    """One step on this worker's packs at learning rate `rate`. Returns the weighted mean loss over the targets of all workers.

    The loss, in nats, is normalised by the target weights of all workers, so it does not depend on the distribution of packs.
    Where memory runs out, `on_out_of_memory` gets the tokens of the largest pack, and the packs are halved: the same turns and
    the same gradient, accumulated in smaller parts. A worker can do this alone, because workers wait for each other only later.

    Raises:
        TrainingError: the loss or the gradient is not finite, or one example alone exceeds the memory. The weights are then
            those before the step.
    """
    device = next(model.parameters()).device
    weight = sum_over_workers(torch.tensor(float(sum(pack.weight for pack in packs)), device=device)).item()
    total = None
    while total is None:
        optimizer.zero_grad()
        total = _accumulated(model, packs, 1 / weight)
        if total is None:
            on_out_of_memory(max(pack.num_tokens for pack in packs))
            packs = _smaller(packs)
    loss = float(sum_over_workers(total))
    if not math.isfinite(loss):
        raise TrainingError(f"loss is {loss}, must be finite", f"lower training.learning_rate (now {rate:.2e})")
    gradients = _summed_gradients(list(trainable_parameters(model).values()), sum_over_workers)
    _clip(gradients, sum_over_workers)
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    return loss


def evaluate(model: nn.Module, packs: Sequence[Pack], hardest: float, sum_over_workers: SumOverWorkers) -> Evaluation:
    """Teacher-forced exact match of decisions on held-out packs. `packs` are this worker's; the sums are over all workers.

    `stage_accuracy` counts turns of difficulty up to `hardest`.

    A turn is right if the most likely token equals the target at every position of its decision. Greedy decoding after the
    reference's topic would then produce the same decision, because it leaves the reference where the argmax first differs. So
    one forward pass gives the exact share of right decisions without generation.

    Raises:
        TrainingError: no turn is of difficulty up to `hardest`, or the loss is not finite.
    """
    model.eval()
    right: list[bool] = []
    difficulty: list[int] = []
    loss = 0.0
    with torch.no_grad():
        for pack in packs:
            pack_right, pack_loss = _decisions(model, pack)
            right += pack_right
            loss += pack_loss
            difficulty += [turn.difficulty for turn in pack.turns]
    model.train()
    judged = [ok for ok, level in zip(right, difficulty, strict=True) if level <= hardest]
    mine = [sum(judged), len(judged), sum(right), len(right), loss, sum(pack.weight for pack in packs)]
    device = next(model.parameters()).device
    sums = sum_over_workers(torch.tensor(mine, dtype=torch.float64, device=device)).tolist()
    if not sums[1]:
        raise TrainingError(
            f"no held-out turn is of difficulty {hardest:g} or less, a gate must have some",
            "raise training.evaluation_examples or dataset.num_templates",
        )
    if not math.isfinite(sums[4]):
        raise TrainingError(f"held-out loss is {sums[4]}, must be finite", "lower training.learning_rate")
    return Evaluation(
        stage_accuracy=sums[0] / sums[1],
        num_judged=int(sums[1]),
        accuracy=sums[2] / sums[3],
        num_turns=int(sums[3]),
        loss=sums[4] / sums[5],
    )


def _decisions(model: nn.Module, pack: Pack) -> tuple[list[bool], float]:
    """Whether each turn's decision is predicted right, and the pack's weighted sum of cross entropies."""
    states = supervised_states(model, pack)
    loss, wrong = 0.0, []
    for rows in _chunks(pack.num_targets):
        predicted = logits(model, states[rows])
        loss += _loss_sum(predicted, pack, rows).item()
        wrong.append((predicted.argmax(-1) != pack.targets[rows].to(predicted.device)).cpu())
    failed = set(pack.turn_index[torch.cat(wrong) & pack.is_decision].tolist())
    return [index not in failed for index in range(len(pack.turns))], loss


def _accumulated(model: nn.Module, packs: Sequence[Pack], scale: float) -> Tensor | None:
    """The scaled loss of the packs, with their gradients added up; None where memory ran out."""
    total = torch.zeros((), device=next(model.parameters()).device, dtype=torch.float64)
    try:
        for pack in packs:
            total += backward(model, pack, scale)
    except (MemoryError, RuntimeError) as error:  # torch raises a class of its own on GPUs only
        memory = isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)
        if not memory:
            raise
        return None
    return total


def _smaller(packs: Sequence[Pack]) -> list[Pack]:
    smaller = [half for whole in packs for half in halves(whole)]
    if len(smaller) == len(packs):
        tokens = max(pack.num_tokens for pack in packs)
        raise TrainingError(
            f"one example of {tokens} tokens does not fit into memory",
            "lower training.max_tokens to less than that, which leaves such examples out",
        )
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return smaller


def _chunks(num_rows: int) -> Iterator[slice]:
    return (slice(start, start + LOGIT_ROWS) for start in range(0, num_rows, LOGIT_ROWS))


def _loss_sum(predicted: Tensor, pack: Pack, rows: slice) -> Tensor:
    """Weighted sum of the cross entropies of a chunk's logits, at least in float32."""
    predicted = predicted.to(torch.promote_types(predicted.dtype, torch.float32))
    losses = functional.cross_entropy(predicted, pack.targets[rows].to(predicted.device), reduction="none")
    return (losses * pack.weights[rows].to(predicted.device)).sum()


def _summed_gradients(parameters: Sequence[nn.Parameter], sum_over_workers: SumOverWorkers) -> list[Tensor]:
    """The gradients, each summed over all workers."""
    for parameter in parameters:
        if parameter.grad is None:  # this worker had no pack
            parameter.grad = torch.zeros_like(parameter)
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    for gradient in gradients:
        if isinstance(gradient, DTensor):  # FSDP has averaged it
            gradient *= gradient.device_mesh.size()
    mine = [gradient for gradient in gradients if not isinstance(gradient, DTensor)]
    # One reduction for all: many small ones would take longer to start than to run.
    flat = sum_over_workers(torch.cat([gradient.flatten() for gradient in mine]))
    for gradient, summed in zip(mine, flat.split([gradient.numel() for gradient in mine]), strict=True):
        gradient.copy_(summed.view_as(gradient))
    return gradients


def _clip(gradients: Sequence[Tensor], sum_over_workers: SumOverWorkers) -> None:
    """Scale all gradients so that their joint norm is at most MAX_GRADIENT_NORM. Sharded ones are spread over the workers."""
    parts = [gradient.to_local() for gradient in gradients if isinstance(gradient, DTensor)]
    squared = torch.stack([gradient.square().sum() for gradient in gradients if not isinstance(gradient, DTensor)]).sum()
    if parts:
        squared += sum_over_workers(torch.stack([part.square().sum() for part in parts]).sum())
    norm = squared.sqrt()
    if not torch.isfinite(norm):
        raise TrainingError(f"gradient norm is {norm.item()}, must be finite", "lower training.learning_rate")
    factor = torch.clamp(MAX_GRADIENT_NORM / (norm + 1e-6), max=1.0)
    for gradient in gradients:
        local = gradient.to_local() if isinstance(gradient, DTensor) else gradient
        local.mul_(factor)
