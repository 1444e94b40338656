"""Training steps of ours against TRL's SFTTrainer: turns of the same rows, one model, adapter, optimizer, precision.

    python benchmarks/train_vs_trl.py [--model SOURCE] [--steps 8] [--rounds 3] [--threads N] [--write] [section.key=value ...]

The `laptop` recipe with its overrides says what is trained on what. Prints Markdown. With `--write` the section also takes the
place of the one with its heading in `RESULTS.md`.
"""

import argparse
import json
import multiprocessing
import statistics
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import TypeVar

import psutil
from results import Section, publish, spread
from training_sides import WARM_UP_STEPS, Run, Task, ours, ours_unshared, peer, peer_same_parameters, peer_supervised_only

from aria_ray.config.load import load_config
from aria_ray.config.schema import DatasetConfig, RunConfig
from aria_ray.dataset.generate import dataset_items, line_of, make_rows
from aria_ray.machine.flops import DecoderShape, lora_step_flops
from aria_ray.machine.peaks import gemm_flops_per_s
from aria_ray.training.base_model import prepare_base
from aria_ray.training.model import load_tokenizer
from aria_ray.training.tokens import load_turns

PACKAGES = ("accelerate", "datasets", "trl")
OURS, OURS_UNSHARED = "ours", "ours, nothing shared"
TRL, TRL_SAME, TRL_LABELLED = "TRL", "TRL, control tokens trained too", "TRL, head on supervised tokens"
SIDES: dict[str, Callable[[Task], Run]] = {
    OURS: ours,
    TRL: peer,
    OURS_UNSHARED: ours_unshared,
    TRL_SAME: peer_same_parameters,
    TRL_LABELLED: peer_supervised_only,
}
"""What takes its turn in each round."""
MOST_LEAK = 1e-4
"""What rounding may make of the states of an example in a packed row."""
READ_IN = "1.16.0"
"""The version of TRL in whose source was read what the section says of its inside."""
Result = TypeVar("Result")
Rounds = dict[str, list[Run]]


def write_rows(config: DatasetConfig, path: Path) -> None:
    """The rows of the dataset stage, without its gates and figures."""
    with path.open("w", encoding="utf-8") as lines:
        for item in dataset_items(config):
            for row in make_rows(item, config):
                lines.write(line_of(row))


def task_for(config: RunConfig, num_steps: int, threads: int) -> tuple[Task, int]:
    """What every side is given, and how many turns were dropped because they are too long."""
    base = prepare_base(config.model)
    with tempfile.TemporaryDirectory() as folder:
        dataset = Path(folder) / "dataset.jsonl"
        write_rows(config.dataset, dataset)
        turns, num_dropped = load_turns(load_tokenizer(base), dataset, "train", config.training.max_tokens)
    return Task(base, config.model.dtype, tuple(turns), config.training, num_steps, seed=0, threads=threads), num_dropped


def in_own_process(function: Callable[..., Result], *arguments: object) -> Result:
    """A call in a fresh process, so that its memory and its libraries are its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(function, *arguments).result()


def measure(task: Task, num_rounds: int) -> tuple[Rounds, float]:
    """Every side in turn, each time in a process of its own and on other turns; and the peak of matrix products."""
    runs: Rounds = {name: [] for name in SIDES}
    peak = 0.0
    for number in range(num_rounds):
        peak = max(peak, in_own_process(gemm_flops_per_s, task.threads))
        for name, side in SIDES.items():
            runs[name].append(in_own_process(side, replace(task, seed=number)))
    trained = {name: runs[name][0].num_trained for name in (OURS, OURS_UNSHARED, TRL_SAME)}
    if len(set(trained.values())) != 1:
        raise SystemExit(f"these must train as many parameters as each other: {trained}")
    leak = max(run.leak for run in runs[TRL])
    if leak > MOST_LEAK:
        raise SystemExit(f"packed rows of TRL leak: states differ by {leak:.1e} of their size; the two do not do the same work")
    return runs, peak


def utilisation(task: Task, run: Run, peak: float) -> float:
    """Model FLOP utilisation: what the steps need, as a share of what the time would have let matrix products do."""
    shape = DecoderShape.of(json.loads((task.base / "config.json").read_text(encoding="utf-8")))
    lora = task.config.lora
    needed = lora_step_flops(
        shape,
        lora.rank,
        lora.chosen(shape.linear_layers),
        num_tokens=run.total("tokens"),
        num_attention_pairs=run.total("attention_pairs"),
        num_supervised=run.total("supervised"),
    )
    return needed / run.seconds / peak


def report(config: RunConfig, num_steps: int, num_rounds: int, threads: int) -> Section:
    """Run everything and say what was found."""
    task, num_dropped = task_for(config, num_steps, threads)
    runs, peak = measure(task, num_rounds)
    num_rows = len({turn.row_id for turn in task.turns})
    training = config.training
    text = f"""\
{config.model.source} in {config.model.dtype}, LoRA of rank {training.lora.rank}, {threads} threads. {len(task.turns):,} \
assistant turns of {num_rows:,} training rows of the `laptop` recipe ({num_dropped} turns of more than {training.max_tokens} \
tokens left out); loss on what the assistant says. Each side fills a step up to {training.tokens_per_step} tokens, has AdamW \
without decay, clips gradients at norm 1 and keeps all activations. {num_rounds} rounds of {num_steps} steps after \
{WARM_UP_STEPS} to warm up, the sides in turn, each in a process of its own; every round takes other turns, drawn \
from all by each side for itself, {min(sum(run.total("turns") for run in rounds) for rounds in runs.values()):,} or more a \
side; so turns/s is the figure, as some turns are longer. Mean, least and most over the rounds.

{_speed_table(task, runs, peak, num_rows / len(task.turns))}

{_ratio_table(runs)}

{_sides_text(runs)}

Tokens unshared are those of the same turns one by one. Utilisation is the arithmetic that the steps need \
(`aria_ray/machine/flops.py`; nothing counts that is masked, padded, or not needed for the loss) by their time and the most \
that `torch.mm` reached in the same run, {peak / 1e9:,.0f} GFLOP/s. Memory is the peak resident set of the process.
"""
    ours = runs[OURS]
    return Section(
        text,
        {
            "utilisation": statistics.mean(utilisation(task, run, peak) for run in ours),
            "tokens_per_s": statistics.mean(run.per_s("tokens") for run in ours),
            "turns_per_s": statistics.mean(run.per_s("turns") for run in ours),
        },
    )


def _sides_text(runs: Rounds) -> str:
    leak = max(run.leak for run in runs[TRL])
    return f"""\
TRL {metadata.version("trl")}: `SFTTrainer` with `packing=True` and its default strategy `bfd`, `completion_only_loss=True` on \
the same token ids, `gradient_checkpointing=False`, float32, PEFT's own LoRA layer; all else as it comes, so attention is \
`sdpa` and the optimizer fused. Its packed rows do not leak: transformers makes the mask from the positions, and the states of \
an example in a packed row differ from those of the example alone by {leak:.0e} of their size. Ours trains \
{runs[OURS][0].num_trained:,} parameters, the control tokens' embeddings among them; TRL {READ_IN} fails on those (it asks \
PEFT's wrapper of the head for a bias) and trains {runs[TRL][0].num_trained:,}. "{TRL_SAME}" gives that wrapper a bias of \
None. On a processor TRL {READ_IN} takes the output head of every token, on a GPU of the supervised ones alone; \
"{TRL_LABELLED}" has it do so here too, without the embeddings. "{OURS_UNSHARED}" is ours with each turn in a row of its own, \
gradients added up over a step. Collating is in the time of a step on all sides, tokenizing and grouping on none."""


def _speed_table(task: Task, runs: Rounds, peak: float, rows_per_turn: float) -> str:
    lines = [
        "| | turns/s | dataset rows/s | tokens computed/s | tokens unshared/s | tokens per step | utilisation | GiB at most |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, rounds in runs.items():
        turns_per_s = [run.per_s("turns") for run in rounds]
        cells = (
            spread(turns_per_s, 2),
            spread([rows_per_turn * each for each in turns_per_s], 2),
            spread([run.per_s("tokens") for run in rounds], 0),
            spread([run.per_s("unshared_tokens") for run in rounds], 0),
            f"{statistics.mean(run.total('tokens') / len(run.steps) for run in rounds):,.0f}",
            spread([utilisation(task, run, peak) for run in rounds], 2),
            spread([run.gib_peak for run in rounds], 2),
        )
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _ratio_table(runs: Rounds) -> str:
    """Each side of ours over each of the peer's, round by round."""
    lines = ["| | turns/s | tokens unshared/s | peak memory |", "|---|---|---|---|"]
    for mine in (OURS, OURS_UNSHARED):
        for other in (TRL, TRL_SAME, TRL_LABELLED):
            pairs = list(zip(runs[mine], runs[other], strict=True))
            turns = spread([one.per_s("turns") / two.per_s("turns") for one, two in pairs], 2)
            tokens = spread([one.per_s("unshared_tokens") / two.per_s("unshared_tokens") for one, two in pairs], 2)
            memory = spread([one.gib_peak / two.gib_peak for one, two in pairs], 2)
            lines.append(f"| {mine} / {other} | {turns} | {tokens} | {memory} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and publish."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", 1)[0])
    parser.add_argument("--model", help="base model in place of the recipe's, such as random:tiny")
    parser.add_argument("--steps", type=int, default=8, help="steps of each side in a round (8)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds (3)")
    parser.add_argument("--threads", type=int, default=psutil.cpu_count(), help="threads of PyTorch (all cores)")
    parser.add_argument("--write", action="store_true", help="put the section into RESULTS.md")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="changes to the laptop recipe")
    options = parser.parse_args()
    overrides = [*([f"model.source={options.model}"] if options.model else []), *options.overrides]
    config = load_config("laptop", overrides)
    publish("Training", lambda: report(config, options.steps, options.rounds, options.threads), PACKAGES, options.write)


if __name__ == "__main__":
    main()
