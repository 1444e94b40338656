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
from transformers import PreTrainedTokenizerBase

from aria_ray.errors import TrainingError
from aria_ray.training import checkpoint
from aria_ray.training.batch import Pack, group_turns, pack
from aria_ray.training.checkpoint import Progress
from aria_ray.training.curriculum import Evaluation, gate, stage_packs, stage_steps
from aria_ray.training.loop import evaluate, train_step
from aria_ray.training.model import add_adapter, load_model, load_tokenizer, trainable_parameters
from aria_ray.training.schedule import learning_rate
from aria_ray.training.settings import Place, Settings
from aria_ray.training.tokens import TurnTokens, encode_rows

Report = Callable[[dict[str, Any], Callable[[Path], None] | None], None]
"""report(metrics, save): hands metrics to Ray Train and, where `save` is given, a checkpoint that `save(directory)` writes."""


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
            f"none of {len(turns)} {split} turns fits into training.max_tokens ({max_tokens}){shortest}; "
            "raise it, or dataset.num_templates if there are no turns"
        )
    return fitting, len(turns) - len(fitting)


class Worker:
    """A model in training: the state that lives from the first step to the last."""

    def __init__(self, settings: Settings, place: Place, report: Report, resume_from: Path | None) -> None:
        self.settings, self.config, self.place, self.report = settings, settings.config, place, report
        tokenizer = load_tokenizer(settings.base)
        self.turns = self._turns(tokenizer, "train")
        self.held_out = self._held_out(self._turns(tokenizer, "validation"))
        device = torch.device("cuda" if self.config.use_gpu else "cpu")
        model = load_model(settings.base, tokenizer, settings.dtype).to(device)
        self.model: PeftModel = add_adapter(model, tokenizer, self.config.lora, self.config.seed)
        self.optimizer = torch.optim.AdamW(trainable_parameters(self.model).values(), weight_decay=0.0)
        self.progress = checkpoint.restore(resume_from, self.model, self.optimizer) if resume_from else Progress()
        self.model.train()

    def run(self) -> None:
        """Every stage that is left. The last report carries what the report needs to know of the whole."""
        steps = stage_steps(self.config)
        self._check_gate()  # a run that is taken up again stands before the same closed gate
        while self.progress.stage < len(self.config.stages):
            self._run_stage(steps[self.progress.stage])
            self._check_gate()

    def _check_gate(self) -> None:
        if self.progress.transitions and self.config.on_gate_failure == "stop":
            stage = self.progress.transitions[-1]
            if stage["gate"] == "failed":
                raise TrainingError(
                    f"curriculum stage '{stage['stage']}' ended at {stage['accuracy']:.1%} held-out accuracy, below its "
                    f"minimum {stage['minimum']:.0%}; train longer (training.num_steps) or set "
                    "training.on_gate_failure=continue"
                )

    def _turns(self, tokenizer: PreTrainedTokenizerBase, split: str) -> list[TurnTokens]:
        turns, num_dropped = load_turns(tokenizer, self.settings.dataset, split, self.config.max_tokens)
        self._write({"event": "data", "split": split, "turns": len(turns), "dropped_too_long": num_dropped})
        return turns

    def _held_out(self, turns: list[TurnTokens]) -> list[Pack]:
        rng = random.Random(self.config.seed)
        chosen = rng.sample(turns, min(self.config.evaluation_examples, len(turns)))
        return [pack(group) for group in group_turns(chosen, self.config.max_tokens, rng)]

    def _run_stage(self, num_steps: int) -> None:
        index = self.progress.stage
        stage = self.config.stages[index]
        peak = self.config.learning_rate * stage.learning_rate_multiplier
        batches = stage_packs(self.turns, index, num_steps, self.config)
        evaluate_after = {
            round(num_steps * (number + 1) / self.config.evaluations_per_stage)
            for number in range(self.config.evaluations_per_stage)
        }
        while True:
            step = self.progress.step
            self._step(batches[step], step, learning_rate(step, num_steps, peak, self.config.warmup_share))
            self.progress = replace(self.progress, step=step + 1)
            if step + 1 in evaluate_after and self._evaluate(step + 1 == num_steps):
                return

    def _step(self, packs: list[Pack], step: int, rate: float) -> None:
        process = psutil.Process()
        cpu_before, started = process.cpu_times(), time.perf_counter()
        mine = packs[self.place.rank :: self.place.world_size]
        loss = train_step(self.model, self.optimizer, mine, rate, self.place.sum_over_workers)
        wall_s = time.perf_counter() - started
        cpu = process.cpu_times()
        self._write(
            {
                "event": "step",
                "stage": self.config.stages[self.progress.stage].name,
                "step": step,
                "loss": loss,
                "learning_rate": rate,
                "wall_s": wall_s,
                "cpu_s": cpu.user + cpu.system - cpu_before.user - cpu_before.system,
                "tokens": sum(pack.num_tokens for pack in packs),
                "unshared_tokens": sum(pack.num_unshared_tokens for pack in packs),
                "turns": sum(len(pack.turns) for pack in packs),
            }
        )

    def _evaluate(self, is_last: bool) -> bool:
        """Evaluate, report a checkpoint, and return whether the stage is over."""
        stage = self.config.stages[self.progress.stage]
        evaluation = self._global_evaluation()
        best = self.progress.best_loss
        gained = best is None or evaluation.loss < best
        waited = 0 if gained else self.progress.evaluations_without_gain + 1
        result = gate(stage, evaluation.stage_accuracy)
        over = is_last or result == "target" or waited >= self.config.patience
        self.progress = replace(
            self.progress,
            best_loss=evaluation.loss if gained else best,
            evaluations_without_gain=waited,
        )
        metrics = {
            "stage": stage.name,
            "step": self.progress.step,
            "accuracy": evaluation.accuracy,
            "stage_accuracy": evaluation.stage_accuracy,
            "held_out_loss": evaluation.loss,
            "peak_memory_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        }
        if over:
            transition: dict[str, Any] = {
                "stage": stage.name,
                "steps": self.progress.step,
                "accuracy": evaluation.stage_accuracy,
            }
            transition |= {"gate": result, "target": stage.target, "minimum": stage.minimum}
            transition["reason"] = "target" if result == "target" else "steps" if is_last else "patience"
            self.progress = self.progress.next_stage(transition)
        self._write({"event": "evaluation", **metrics, "num_turns": evaluation.num_turns, "ended": result if over else None})
        self.report(
            {**metrics, "transitions": list(self.progress.transitions)},
            lambda directory: checkpoint.save(directory, self.model, self.optimizer, self.progress),
        )
        return over

    def _global_evaluation(self) -> Evaluation:
        """Evaluated by the first worker, told to all: every worker must come to the same decisions."""
        figures = torch.zeros(4, dtype=torch.float64)
        if self.place.rank == 0:
            mine = evaluate(self.model, self.held_out, self.progress.stage)
            figures = torch.tensor([mine.stage_accuracy, mine.accuracy, mine.loss, mine.num_turns], dtype=torch.float64)
        figures = self.place.sum_over_workers(figures.to(next(self.model.parameters()).device))
        stage_accuracy, accuracy, loss, num_turns = figures.tolist()
        return Evaluation(stage_accuracy, accuracy, loss, int(num_turns))

    def _write(self, event: dict[str, Any]) -> None:
        if self.place.rank == 0:
            with self.settings.log.open("a", encoding="utf-8") as log:
                log.write(json.dumps(event) + "\n")
