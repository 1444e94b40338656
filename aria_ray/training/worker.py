"""One training worker, from its first step to its last. It reaches Ray Train through two callables only."""

import json
import random
import resource
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import psutil
import torch
from peft import PeftModel
from tensorboardX import SummaryWriter
from torch.distributed.tensor import DTensor
from transformers import PreTrainedTokenizerBase

from aria_ray.artifacts import CHECKPOINTS
from aria_ray.errors import TrainingError
from aria_ray.results import Gate
from aria_ray.training.adapter_state import gather_state, restore_state, shard_layers, write_state
from aria_ray.training.attention import use_prefix_tree_attention
from aria_ray.training.batch import Pack, dealt, group_turns, halves, pack, weightless
from aria_ray.training.checkpoint import Checkpoints, CurriculumState, checkpoint_name
from aria_ray.training.curriculum import Evaluation, gate, hardest, learning_rate, stage_packs, stage_steps
from aria_ray.training.exactness import branches, check_exactness
from aria_ray.training.loop import evaluate, train_step
from aria_ray.training.model import add_adapter, load_model, load_tokenizer, trainable_parameters
from aria_ray.training.tail_log import end_torn_line
from aria_ray.training.tokens import TurnTokens, load_turns
from aria_ray.training.worker_args import LOG, TENSORBOARD, WorkerArgs, WorkerRank

ReportMetrics = Callable[[dict[str, Any]], None]
"""Reports the metrics of an evaluation to Ray Train. Every worker must call it."""
RETRY_RATE = 0.5
"""Factor on the stage's learning rate for each retry after a failed gate."""


class Worker:
    """A model in training, with everything that lives from the first step to the last."""

    def __init__(self, args: WorkerArgs, rank: WorkerRank, report: ReportMetrics) -> None:
        self.args, self.config, self.report = args, args.config, report
        self.rank, self.world_size, self.sum_over_workers = rank.rank, rank.world_size, rank.sum_over_workers
        self.checkpoints = Checkpoints(args.out / CHECKPOINTS)
        if self.rank == 0:
            end_torn_line(args.out / LOG)
        self.plots: SummaryWriter | None = None
        tokenizer = load_tokenizer(args.base)
        self.turns = self._turns(tokenizer, "train")
        self.held_out = self._held_out(self._turns(tokenizer, "validation"))
        device = torch.device("cuda" if self.config.use_gpu else "cpu")
        model = load_model(args.base, tokenizer, args.dtype).to(device)
        check_exactness(model, branches([turn.ids for turn in self.turns]))
        use_prefix_tree_attention(model)
        self.model: PeftModel = add_adapter(model, tokenizer, self.config.lora, self.config.seed, args.kernels)
        if self.config.parallelism == "fsdp":
            shard_layers(self.model)
        self.optimizer = self._new_optimizer()
        self.state = self._resumed()
        if self.rank == 0:
            self.plots = SummaryWriter(str(args.out / TENSORBOARD), purge_step=self.state.total_steps + 1)
        self.model.train()

    def run(self) -> CurriculumState:
        """Train the remaining stages.

        Raises:
            TrainingError: a gate failed that stops the run, or a step or an evaluation failed.
        """
        steps = stage_steps(self.config)
        self._check_gate()  # a resumed run must not pass a gate that stopped it
        while self.state.stage < len(self.config.stages):
            self._run_stage(steps[self.state.stage])
            self._check_gate()
        if self.plots is not None:
            self.plots.close()
        return self.state

    def _new_optimizer(self) -> torch.optim.AdamW:
        parameters = trainable_parameters(self.model).values()
        groups = [[each for each in parameters if isinstance(each, DTensor) == sharded] for sharded in (False, True)]
        fused = self.config.parallelism == "ddp"  # one pass over memory instead of ten; does not take sharded tensors on a CPU
        return torch.optim.AdamW([{"params": group} for group in groups if group], weight_decay=0.0, fused=fused)

    def _resumed(self) -> CurriculumState:
        """Load the newest undamaged checkpoint. The first worker selects it, so that all load the same."""
        chosen = torch.tensor(-1.0, device=self.model.device)
        if self.rank == 0:
            for damage in self.checkpoints.damaged():
                self._write({"event": "damaged_checkpoint", "what": damage})
            name = self.checkpoints.newest()
            chosen += 1 + int(name.removeprefix("step-")) if name else 0
        else:
            chosen += 1
        total_steps = int(self.sum_over_workers(chosen))
        if total_steps < 0:
            return CurriculumState()
        name = checkpoint_name(total_steps)
        restore_state(self.checkpoints.path(name), self.model, self.optimizer)
        return self.checkpoints.state(name)

    def _check_gate(self) -> None:
        if self.state.transitions and self.config.on_gate_failure == "stop":
            end = self.state.transitions[-1]
            if end["gate"] == "failed" and not end["retried"]:
                raise TrainingError(
                    f"curriculum stage '{end['stage']}' ended at {end['accuracy']:.1%} held-out accuracy, below its "
                    f"minimum {end['minimum']:.0%}",
                    "train longer (training.num_steps) or set "
                    f"training.on_gate_failure=continue, after deleting {self.args.out} or with another --out",
                )

    def _turns(self, tokenizer: PreTrainedTokenizerBase, split: str) -> list[TurnTokens]:
        turns, num_dropped = load_turns(tokenizer, self.args.dataset, split, self.config.max_tokens)
        self._write({"event": "data", "split": split, "turns": len(turns), "dropped_too_long": num_dropped})
        return turns

    def _held_out(self, turns: list[TurnTokens]) -> list[Pack]:
        """This worker's part of the held-out packs."""
        rng = random.Random(self.config.seed)
        chosen = rng.sample(turns, min(self.config.evaluation_examples, len(turns)))
        return self._mine([pack(group, self.config.loss_weights) for group in group_turns(chosen, self.config.max_tokens, rng)])

    def _mine(self, packs: list[Pack]) -> list[Pack]:
        """This worker's part of the packs. With FSDP workers run every pass together, so all get the same number."""
        mine = dealt(packs, self.rank, self.world_size)
        if self.config.parallelism == "fsdp" and len(mine) < -(-len(packs) // self.world_size):
            mine.append(weightless(packs[0]))
        return mine

    def _run_stage(self, num_steps: int) -> None:
        """Run the current attempt at a stage from its current step to its end."""
        index, attempt = self.state.stage, self.state.attempt
        stage = self.config.stages[index]
        peak = self.config.learning_rate * stage.learning_rate_multiplier * RETRY_RATE**attempt
        batches = stage_packs(self.turns, index, num_steps, self.config, attempt)
        if self.state.step == 0:
            if attempt and self.state.best_checkpoint:  # with its optimizer
                restore_state(self.checkpoints.intact_path(self.state.best_checkpoint), self.model, self.optimizer)
            elif self.config.optimizer_between_stages == "restart":
                self.optimizer = self._new_optimizer()
        evaluate_after = {
            round(num_steps * (number + 1) / self.config.evaluations_per_stage)
            for number in range(self.config.evaluations_per_stage)
        }
        while True:
            step = self.state.step
            self._step(batches[step], learning_rate(step, num_steps, peak, self.config.warmup_share))
            self.state = replace(self.state, step=step + 1, total_steps=self.state.total_steps + 1)
            if step + 1 in evaluate_after:
                if self._evaluate(step + 1 == num_steps):
                    return
            elif self.state.total_steps % self.config.checkpoint_every_steps == 0:
                self._save()

    def _step(self, packs: list[Pack], rate: float) -> None:
        # The seed of dropout comes from the step, not from earlier draws, so that a resumed run draws the same.
        torch.manual_seed(random.Random(f"{self.config.seed}:{self.state.total_steps}:{self.rank}").getrandbits(63))
        mine = self._fitting(self._mine(packs))
        process = psutil.Process()
        cpu_before, started = process.cpu_times(), time.perf_counter()
        loss = train_step(self.model, self.optimizer, mine, rate, self.sum_over_workers, self._halve_from_now_on)
        wall_s = time.perf_counter() - started
        cpu = process.cpu_times()
        self._write(
            {
                "event": "step",
                "stage": self.config.stages[self.state.stage].name,
                "attempt": self.state.attempt,
                "step": self.state.step,
                "total_steps": self.state.total_steps + 1,
                "loss": loss,
                "learning_rate": rate,
                "wall_s": wall_s,
                "cpu_s": cpu.user + cpu.system - cpu_before.user - cpu_before.system,
                "tokens": sum(pack.num_tokens for pack in packs),
                "unshared_tokens": sum(pack.num_unshared_tokens for pack in packs),
                "attention_pairs": sum(pack.num_attention_pairs for pack in packs),
                "supervised": sum(pack.num_targets for pack in packs),
                "turns": sum(len(pack.turns) for pack in packs),
            }
        )

    def _fitting(self, packs: list[Pack]) -> list[Pack]:
        """The packs, halved as often as memory has run out."""
        for _ in range(self.state.halvings):
            packs = [half for whole in packs for half in halves(whole)]
        return packs

    def _halve_from_now_on(self, tokens: int) -> None:
        """Record that memory ran out for a pack of `tokens` tokens, so that all later steps halve their packs."""
        if (
            self.config.parallelism == "fsdp"
        ):  # with more packs here, the other workers would not take part in gathering weights
            raise TrainingError(
                f"a packed row of {tokens} tokens does not fit into memory",
                f"lower training.max_tokens (now {self.config.max_tokens})",
            )
        self.state = replace(self.state, halvings=self.state.halvings + 1)
        self._write({"event": "out_of_memory", "tokens": tokens, "halvings": self.state.halvings})

    def _evaluate(self, is_last: bool) -> bool:
        """Evaluate, save a checkpoint and report. Returns whether the attempt at the stage is over."""
        stage = self.config.stages[self.state.stage]
        judged = hardest(self.state.stage, self.config)
        evaluation = evaluate(self.model, self.held_out, judged, self.sum_over_workers)
        metrics = {
            "stage": stage.name,
            "attempt": self.state.attempt,
            "step": self.state.step,
            "total_steps": self.state.total_steps,
            "accuracy": evaluation.accuracy,
            "stage_accuracy": evaluation.stage_accuracy,
            "held_out_loss": evaluation.loss,
            "num_judged": evaluation.num_judged,
            "num_turns": evaluation.num_turns,
            "peak_memory_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        }
        gained = self.state.best_loss is None or evaluation.loss < self.state.best_loss
        if gained:
            name = checkpoint_name(self.state.total_steps)
            self.state = replace(
                self.state, best_loss=evaluation.loss, best_metrics=metrics, best_checkpoint=name, evaluations_without_gain=0
            )
        else:
            self.state = replace(self.state, evaluations_without_gain=self.state.evaluations_without_gain + 1)
        result = gate(stage, evaluation.stage_accuracy)
        over = is_last or result == "target" or self.state.evaluations_without_gain >= self.config.patience
        if over:
            self._end_attempt(evaluation, result, is_last)
        self._write({"event": "evaluation", **metrics, "ended": result if over else None})
        self._save()
        self.report(metrics)
        return over

    def _end_attempt(self, evaluation: Evaluation, result: Gate, is_last: bool) -> None:
        """Record the end of an attempt at a stage, and move to the next attempt or the next stage."""
        stage = self.config.stages[self.state.stage]
        retry = result == "failed" and self.state.attempt < self.config.gate_retries
        transition = {
            "stage": stage.name,
            "attempt": self.state.attempt,
            "steps": self.state.step,
            "accuracy": evaluation.stage_accuracy,
            "num_judged": evaluation.num_judged,
            "gate": result,
            "target": stage.target,
            "minimum": stage.minimum,
            "reason": "target" if result == "target" else "steps" if is_last else "patience",
            "retried": retry,
            "best_checkpoint": self.state.best_checkpoint,
        }
        self.state = self.state.after(transition, retry)

    def _save(self) -> None:
        adapter_state = gather_state(self.model, self.optimizer)
        if self.rank == 0:
            self.checkpoints.save(self.state, lambda folder: write_state(folder, self.model, adapter_state))

    def _write(self, event: dict[str, Any]) -> None:
        """Write an event as a line of the log, and its figures to TensorBoard."""
        if self.rank != 0:
            return
        with (self.args.out / LOG).open("a", encoding="utf-8") as log:
            log.write(json.dumps(event) + "\n")
        if self.plots is None or "total_steps" not in event:
            return
        for name, value in event.items():
            if isinstance(value, float):
                self.plots.add_scalar(f"{event['event']}/{name}", value, event["total_steps"])
        self.plots.flush()
