"""Training steps of each side of `train_vs_trl.py`, one function per side, each to be called in a process of its own.

T = tokens of a row, H = hidden size
"""

import random
import re
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

import psutil
import torch
from peft import LoraConfig
from torch import Tensor
from transformers import TrainerCallback

from aria_ray.config.schema import TrainingConfig
from aria_ray.grammar import MARKERS, TURN_END, TURN_START
from aria_ray.training.attention import use_prefix_tree_attention
from aria_ray.training.batch import pack
from aria_ray.training.curriculum import stage_packs
from aria_ray.training.loop import MAX_GRADIENT_NORM, train_step
from aria_ray.training.model import add_adapter, load_model, load_tokenizer, trainable_parameters
from aria_ray.training.tokens import TurnTokens

WARM_UP_STEPS = 2
"""The first step allocates the gradients and the optimizer's averages; the second finds them there."""
IGNORED_LABEL = -100
Groups = list[list[Sequence[TurnTokens]]]
"""Of each step, the turns of each packed row."""


@dataclass(frozen=True)
class Task:
    """What a side is given."""

    base: Path
    dtype: str
    turns: tuple[TurnTokens, ...]
    config: TrainingConfig
    num_steps: int
    seed: int
    threads: int

    @property
    def num_steps_in_all(self) -> int:
        """Steps with those that warm up."""
        return WARM_UP_STEPS + self.num_steps


@dataclass(frozen=True)
class Step:
    """What one step computed."""

    turns: int
    tokens: int
    unshared_tokens: int
    attention_pairs: int
    """Pairs of tokens that the mask allows."""
    supervised: int
    """Tokens with a loss."""


@dataclass(frozen=True)
class Run:
    """The measured steps of a side in one round."""

    steps: tuple[Step, ...]
    seconds: float
    gib_peak: float
    num_trained: int
    """Parameters."""
    leak: float = 0.0
    """By how much the peer's states of a packed example differ from those of the example alone, as a share of their size."""

    def total(self, name: str) -> int:
        """Sum of a field over the steps."""
        return sum(getattr(step, name) for step in self.steps)

    def per_s(self, name: str) -> float:
        """Sum of a field over the steps, by their time."""
        return self.total(name) / self.seconds


@dataclass
class Clock(TrainerCallback):
    """The time at the end of each step of a trainer."""

    ends: list[float] = field(default_factory=list)

    def on_step_end(self, *_arguments: Any, **_options: Any) -> None:
        """Called by the trainer."""
        self.ends.append(time.perf_counter())


@dataclass
class Counting:
    """A collator that counts what it collates: one batch per step, in the order of the steps."""

    collate: Callable[[list[dict[str, Any]]], dict[str, Tensor]]
    steps: list[Step] = field(default_factory=list)

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, Tensor]:
        """A batch from packed rows."""
        batch = self.collate(examples)
        lengths = [length for example in examples for length in example["seq_lengths"]]
        pairs = sum(length * (length + 1) // 2 for length in lengths)
        num_tokens = batch["input_ids"].numel()
        supervised = int((batch["labels"] != IGNORED_LABEL).sum())
        self.steps.append(Step(len(lengths), num_tokens, sum(lengths), pairs, supervised))
        return batch


def ours(task: Task) -> Run:
    """Our steps as training has them, beginnings shared."""
    config = task.config.model_copy(update={"order": "shuffled", "seed": task.seed})
    steps = stage_packs(task.turns, 0, task.num_steps_in_all, config)
    return _ours(task, [[packed.turns for packed in packs] for packs in steps])


def ours_unshared(task: Task) -> Run:
    """Our steps with each turn in a row of its own."""
    rng = random.Random(task.seed)
    steps: Groups = [[]]
    size = 0
    while len(steps) <= task.num_steps_in_all:
        for turn in rng.sample(task.turns, len(task.turns)):
            if steps[-1] and size + len(turn.ids) > task.config.tokens_per_step:
                steps.append([])
                size = 0
            steps[-1].append([turn])
            size += len(turn.ids)
    return _ours(task, steps[: task.num_steps_in_all])


def _ours(task: Task, groups: Groups) -> Run:
    torch.set_num_threads(task.threads)
    tokenizer = load_tokenizer(task.base)
    model = load_model(task.base, tokenizer, task.dtype)
    use_prefix_tree_attention(model)
    adapted = add_adapter(model, tokenizer, task.config.lora, task.seed)
    adapted.train()
    parameters = trainable_parameters(adapted)
    optimizer = torch.optim.AdamW(parameters.values(), weight_decay=0.0, fused=True)
    steps, ends = [], []
    for rows in groups:
        packs = [pack(turns, task.config.loss_weights) for turns in rows]  # in the time of a step, as the peer's collating is
        train_step(adapted, optimizer, packs, task.config.learning_rate, alone, out_of_memory)
        ends.append(time.perf_counter())
        steps.append(
            Step(
                turns=sum(len(packed.turns) for packed in packs),
                tokens=sum(packed.num_tokens for packed in packs),
                unshared_tokens=sum(packed.num_unshared_tokens for packed in packs),
                attention_pairs=sum(packed.num_attention_pairs for packed in packs),
                supervised=sum(packed.num_targets for packed in packs),
            )
        )
    return _run(task, steps, ends, sum(parameter.numel() for parameter in parameters.values()))


def peer(task: Task, *, train_control_tokens: bool = False) -> Run:
    """TRL's steps, with LoRA alone: as it comes, it fails on PEFT's trained tokens."""
    # Imported here: what it takes is not to count for the other side.
    from datasets import Dataset, disable_progress_bars
    from transformers import PrinterCallback
    from trl import SFTConfig, SFTTrainer

    torch.set_num_threads(task.threads)
    disable_progress_bars()
    tokenizer = load_tokenizer(task.base)
    model = load_model(task.base, tokenizer, task.dtype)
    rows = [
        {"input_ids": list(turn.ids), "completion_mask": [int(index >= turn.num_prompt) for index in range(len(turn.ids))]}
        for turn in task.turns
    ]
    control = tokenizer.convert_tokens_to_ids([*MARKERS, TURN_START, TURN_END]) if train_control_tokens else []
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        trainer = SFTTrainer(
            model,
            SFTConfig(**_trl_options(task, folder)),
            train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer,
            peft_config=_plain_adapter(task.config, control, model.config.tie_word_embeddings),
            callbacks=[clock],
        )
        if control:  # TRL asks the head for a bias; PEFT's wrapper of it has none, and no None either
            model.get_output_embeddings().bias = None
        trainer.remove_callback(PrinterCallback)
        trainer.data_collator = counting = Counting(trainer.data_collator)
        trainer.train()
    num_trained = sum(parameter.numel() for parameter in trainable_parameters(trainer.model).values())
    run = _run(task, counting.steps, clock.ends, num_trained)
    return replace(run, leak=_leak(model, trainer.train_dataset))


def peer_same_parameters(task: Task) -> Run:
    """TRL's steps with the control tokens' embeddings trained as well, as ours are."""
    return peer(task, train_control_tokens=True)


def peer_supervised_only(task: Task) -> Run:
    """TRL's steps with the output head at the supervised positions only, which it does by itself on a GPU."""
    from trl.trainer import utils

    # Asked there for that choice alone: the head itself asks elsewhere whether it may use Triton.
    utils._use_triton = lambda _device: True
    return peer(task)


def _trl_options(task: Task, folder: str) -> dict[str, Any]:
    """What TRL is told; all else is its default."""
    config = task.config
    return {
        "output_dir": folder,
        "max_steps": task.num_steps_in_all,
        "per_device_train_batch_size": config.tokens_per_step // config.max_tokens,
        "packing": True,
        "max_length": config.max_tokens,
        "completion_only_loss": True,
        "learning_rate": config.learning_rate,
        "lr_scheduler_type": "constant",
        "weight_decay": 0.0,
        "max_grad_norm": MAX_GRADIENT_NORM,
        "gradient_checkpointing": False,
        "bf16": False,
        "use_cpu": True,
        "seed": task.seed,
        "save_strategy": "no",
        "logging_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }


def _plain_adapter(config: TrainingConfig, control: list[int], tied: bool) -> LoraConfig:
    """The adapter of `add_adapter` with PEFT's own layers; `control` are the tokens whose embeddings are trained."""
    trained = {"embed_tokens": control} | ({} if tied else {"lm_head": control})
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=config.lora.rank,
        lora_alpha=config.lora.alpha,
        lora_dropout=config.lora.dropout,
        target_modules="all-linear" if config.lora.target_modules == "auto" else list(config.lora.target_modules),
        trainable_token_indices=trained if control else None,
    )


def _leak(model: Any, rows: Any) -> float:
    """How much the states (T, H) of the last example of a packed row change when it stands alone, as a share of their size."""
    row = next((row for row in rows if len(row["seq_lengths"]) > 1), rows[0])
    positions = [position for length in row["seq_lengths"] for position in range(length)]
    start = -row["seq_lengths"][-1]

    def states(first: int) -> Tensor:
        ids, places = torch.tensor([row["input_ids"][first:]]), torch.tensor([positions[first:]])
        with torch.no_grad():
            return model.model(input_ids=ids, position_ids=places, use_cache=False).last_hidden_state[0, start:]

    by_itself = states(len(positions) + start)
    return float((states(0) - by_itself).norm() / by_itself.norm())


def _run(task: Task, steps: Sequence[Step], ends: Sequence[float], num_trained: int) -> Run:
    """What was measured, from the end of the last warm-up step to that of the last step."""
    if torch.get_num_threads() != task.threads or len(ends) != task.num_steps_in_all:
        raise SystemExit(f"{len(ends)} steps on {torch.get_num_threads()} threads are not what was asked for")
    measured = tuple(steps[WARM_UP_STEPS : task.num_steps_in_all])
    return Run(measured, ends[-1] - ends[WARM_UP_STEPS - 1], peak_gib(), num_trained)


def peak_gib() -> float:
    """Largest resident set of this process so far, in GiB.

    Not `getrusage`, whose figure a process inherits from the one that started it.
    """
    found = re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"), re.M)
    return int(found[1]) / 2**20 if found else psutil.Process().memory_info().rss / 2**30


def alone(tensor: Tensor) -> Tensor:
    """The sum over one worker."""
    return tensor


def out_of_memory(tokens: int) -> NoReturn:
    """A benchmark has no smaller step to fall back to: it would be another one."""
    raise SystemExit(f"memory does not suffice for a pack of {tokens} tokens")
