"""What one training worker does from its first step to its last. Ray Train is reached through two callables only."""

import json
import random
import resource
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import torch
from peft import PeftModel
from tensorboardX import SummaryWriter
from torch.distributed.tensor import DTensor
from transformers import PreTrainedTokenizerBase

from aria_ray.errors import TrainingError
from aria_ray.training.adapter_state import gather_state, restore_state, shard_layers, write_state
from aria_ray.training.attention import use_prefix_tree_attention
from aria_ray.training.batch import Pack, dealt, group_turns, halves, pack, weightless
from aria_ray.training.checkpoint import Checkpoints, CurriculumState, checkpoint_name
from aria_ray.training.curriculum import Evaluation, GateResult, gate, hardest, learning_rate, stage_packs, stage_steps
from aria_ray.training.loop import evaluate, train_step
from aria_ray.training.model import add_adapter, load_model, load_tokenizer, trainable_parameters
from aria_ray.training.tail_log import end_torn_line
from aria_ray.training.tokens import TurnTokens, encode_rows
from aria_ray.training.worker_args import CHECKPOINTS, LOG, TENSORBOARD, WorkerArgs, WorkerRank

ReportMetrics = Callable[[dict[str, Any]], None]
"""Hands the metrics of an evaluation to Ray Train; every worker calls it."""
RETRY_RATE = 0.5
"""What a failed gate's retry multiplies the stage's learning rate with."""


def load_turns(tokenizer: PreTrainedTokenizerBase, dataset: Path, split: str, max_tokens: int) -> tuple[list[TurnTokens], int]:
    """The turns of a split that take at most `max_tokens`, and how many were dropped for taking more.

    Raises:
        TrainingError: none is left.
    """
    with dataset.open(encoding="utf-8") as lines:
        rows = (row for row in map(json.loads, lines) if row["split"] == split)
        turns = encode_rows(tokenizer, rows)
    fitting = [turn for turn in turns if len(turn.ids) <= max_tokens]
    if not fitting:
        shortest = f"; the shortest takes {min(len(turn.ids) for turn in turns)} tokens" if turns else ""
        raise TrainingError(
            f"none of {len(turns)} {split} turns fits into training.max_tokens ({max_tokens}){shortest}",
            "raise it, or dataset.num_templates if there are no turns",
        )
    return fitting, len(turns) - len(fitting)


class Worker:
    """A model in training: the state that lives from the first step to the last."""

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
        use_prefix_tree_attention(model)
        self.model: PeftModel = add_adapter(model, tokenizer, self.config.lora, self.config.seed, args.kernels)
        if self.config.parallelism == "fsdp":
            shard_layers(self.model)
        self.optimizer = self._new_optimizer()
        self.progress = self._resumed()
        if self.rank == 0:
            self.plots = SummaryWriter(str(args.out / TENSORBOARD), purge_step=self.progress.total_steps + 1)
        self.model.train()

    def run(self) -> CurriculumState:
        """Every stage that is left."""
        steps = stage_steps(self.config)
        self._check_gate()  # a run that is taken up again stands before the same closed gate
        while self.progress.stage < len(self.config.stages):
            self._run_stage(steps[self.progress.stage])
            self._check_gate()
        if self.plots is not None:
            self.plots.close()
        return self.progress

    def _new_optimizer(self) -> torch.optim.AdamW:
        parameters = trainable_parameters(self.model).values()
        groups = [[each for each in parameters if isinstance(each, DTensor) == sharded] for sharded in (False, True)]
        fused = self.config.parallelism == "ddp"  # one pass over memory instead of ten; not for sharded tensors on a processor
        return torch.optim.AdamW([{"params": group} for group in groups if group], weight_decay=0.0, fused=fused)

    def _resumed(self) -> CurriculumState:
        """Take up the newest whole checkpoint. The first worker chooses, so that all take the same."""
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
        return self.checkpoints.progress(name)

    def _check_gate(self) -> None:
        if self.progress.transitions and self.config.on_gate_failure == "stop":
            end = self.progress.transitions[-1]
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
        """This worker's share of the held-out packs."""
        rng = random.Random(self.config.seed)
        chosen = rng.sample(turns, min(self.config.evaluation_examples, len(turns)))
        return self._mine([pack(group, self.config.loss_weights) for group in group_turns(chosen, self.config.max_tokens, rng)])

    def _mine(self, packs: list[Pack]) -> list[Pack]:
        """This worker's share. Workers that share the model's weights take every step together, so all get as many."""
        mine = dealt(packs, self.rank, self.world_size)
        if self.config.parallelism == "fsdp" and len(mine) < -(-len(packs) // self.world_size):
            mine.append(weightless(packs[0]))
        return mine

    def _run_stage(self, num_steps: int) -> None:
        """One attempt at a stage, from where it stands."""
        index, attempt = self.progress.stage, self.progress.attempt
        stage = self.config.stages[index]
        peak = self.config.learning_rate * stage.learning_rate_multiplier * RETRY_RATE**attempt
        batches = stage_packs(self.turns, index, num_steps, self.config, attempt)
        if self.progress.step == 0:
            if attempt and self.progress.best_checkpoint:  # which carries its optimizer with it
                restore_state(self.checkpoints.whole_path(self.progress.best_checkpoint), self.model, self.optimizer)
            elif self.config.optimizer_between_stages == "restart":
                self.optimizer = self._new_optimizer()
        evaluate_after = {
            round(num_steps * (number + 1) / self.config.evaluations_per_stage)
            for number in range(self.config.evaluations_per_stage)
        }
        while True:
            step = self.progress.step
            self._step(batches[step], learning_rate(step, num_steps, peak, self.config.warmup_share))
            self.progress = replace(self.progress, step=step + 1, total_steps=self.progress.total_steps + 1)
            if step + 1 in evaluate_after:
                if self._evaluate(step + 1 == num_steps):
                    return
            elif self.progress.total_steps % self.config.checkpoint_every_steps == 0:
                self._save()

    def _step(self, packs: list[Pack], rate: float) -> None:
        # Dropout's randomness comes from the step, not from what ran before: a resumed run draws the same.
        torch.manual_seed(random.Random(f"{self.config.seed}:{self.progress.total_steps}:{self.rank}").getrandbits(63))
        mine = self._fitting(self._mine(packs))
        process = psutil.Process()
        cpu_before, started = process.cpu_times(), time.perf_counter()
        loss = train_step(self.model, self.optimizer, mine, rate, self.sum_over_workers, self._halve_from_now_on)
        wall_s = time.perf_counter() - started
        cpu = process.cpu_times()
        self._write(
            {
                "event": "step",
                "stage": self.config.stages[self.progress.stage].name,
                "attempt": self.progress.attempt,
                "step": self.progress.step,
                "total_steps": self.progress.total_steps + 1,
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
        """Packs halved as often as memory has asked for."""
        for _ in range(self.progress.halvings):
            packs = [half for whole in packs for half in halves(whole)]
        return packs

    def _halve_from_now_on(self, tokens: int) -> None:
        """Told by a step that memory did not suffice for a pack of so many tokens."""
        if self.config.parallelism == "fsdp":  # the other workers would wait for the weights of packs they do not have
            raise TrainingError(
                f"a packed row of {tokens} tokens does not fit into memory",
                f"lower training.max_tokens (now {self.config.max_tokens})",
            )
        self.progress = replace(self.progress, halvings=self.progress.halvings + 1)
        self._write({"event": "out_of_memory", "tokens": tokens, "halvings": self.progress.halvings})

    def _evaluate(self, is_last: bool) -> bool:
        """Evaluate, save a checkpoint, report, and return whether the attempt at the stage is over."""
        stage = self.config.stages[self.progress.stage]
        judged = hardest(self.progress.stage, self.config)
        evaluation = evaluate(self.model, self.held_out, judged, self.sum_over_workers)
        metrics = {
            "stage": stage.name,
            "attempt": self.progress.attempt,
            "step": self.progress.step,
            "total_steps": self.progress.total_steps,
            "accuracy": evaluation.accuracy,
            "stage_accuracy": evaluation.stage_accuracy,
            "held_out_loss": evaluation.loss,
            "num_judged": evaluation.num_judged,
            "num_turns": evaluation.num_turns,
            "peak_memory_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        }
        gained = self.progress.best_loss is None or evaluation.loss < self.progress.best_loss
        if gained:
            name = checkpoint_name(self.progress.total_steps)
            self.progress = replace(
                self.progress, best_loss=evaluation.loss, best_metrics=metrics, best_checkpoint=name, evaluations_without_gain=0
            )
        else:
            self.progress = replace(self.progress, evaluations_without_gain=self.progress.evaluations_without_gain + 1)
        result = gate(stage, evaluation.stage_accuracy)
        over = is_last or result == "target" or self.progress.evaluations_without_gain >= self.config.patience
        if over:
            self._end_attempt(evaluation, result, is_last)
        self._write({"event": "evaluation", **metrics, "ended": result if over else None})
        self._save()
        self.report(metrics)
        return over

    def _end_attempt(self, evaluation: Evaluation, result: GateResult, is_last: bool) -> None:
        """Record how an attempt at a stage ended, and turn to the next attempt or the next stage."""
        stage = self.config.stages[self.progress.stage]
        retry = result == "failed" and self.progress.attempt < self.config.gate_retries
        transition = {
            "stage": stage.name,
            "attempt": self.progress.attempt,
            "steps": self.progress.step,
            "accuracy": evaluation.stage_accuracy,
            "num_judged": evaluation.num_judged,
            "gate": result,
            "target": stage.target,
            "minimum": stage.minimum,
            "reason": "target" if result == "target" else "steps" if is_last else "patience",
            "retried": retry,
            "best_checkpoint": self.progress.best_checkpoint,
        }
        self.progress = self.progress.after(transition, retry)

    def _save(self) -> None:
        state = gather_state(self.model, self.optimizer)
        if self.rank == 0:
            self.checkpoints.save(self.progress, lambda folder: write_state(folder, self.model, state))

    def _write(self, event: dict[str, Any]) -> None:
        """A line of the log, and its figures for TensorBoard by the steps done."""
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
