"""Training on one Ray Train worker against two, at one thread each.

    python benchmarks/train_scaling.py [--steps 8] [--rounds 3] [--write] [section.key=value ...]

The `laptop` recipe with its overrides, but for steps of two packed rows, so that each of two workers has one. Prints Markdown.
"""

import argparse
import json
import statistics
import tempfile
from pathlib import Path

import ray
from results import publish, spread
from train_vs_trl import write_rows

from aria_ray.config.load import load_config
from aria_ray.config.schema import RunConfig
from aria_ray.training.base_model import prepare_base
from aria_ray.training.train import train_curriculum

WARM_UP_STEPS = 2
WORKERS = (1, 2)


def tokens_per_s(config: RunConfig, dataset: Path, num_workers: int, num_steps: int) -> float:
    """Packed tokens per second over all workers, of the steps alone."""
    training = config.training.model_copy(
        update={
            "num_workers": num_workers,
            "cpus_per_worker": 1,
            "num_steps": WARM_UP_STEPS + num_steps,
            "tokens_per_step": 2 * config.training.max_tokens,
            "order": "shuffled",
            "stages": (config.training.stages[0].model_copy(update={"steps_share": 1.0}),),
            "on_gate_failure": "continue",
            "evaluations_per_stage": 1,
            "evaluation_examples": 8,
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        train_curriculum(training, config.model.dtype, prepare_base(config.model), dataset, out, lambda _event: None)
        events = map(json.loads, (out / "log.jsonl").read_text(encoding="utf-8").splitlines())
        steps = [event for event in events if event["event"] == "step"][WARM_UP_STEPS:]
    return float(sum(step["tokens"] for step in steps) / sum(step["wall_s"] for step in steps))


def report(overrides: list[str], num_steps: int, num_rounds: int) -> str:
    """Run both in turn and say what was found."""
    config = load_config("laptop", overrides)
    ray.init(num_cpus=max(WORKERS), include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    found: dict[int, list[float]] = {number: [] for number in WORKERS}
    with tempfile.TemporaryDirectory() as folder:
        dataset = Path(folder) / "dataset.jsonl"
        write_rows(config.dataset, dataset)
        for _ in range(num_rounds):
            for number, rates in found.items():
                rates.append(tokens_per_s(config, dataset, number, num_steps))
    ray.shutdown()
    ratios = [two / one for one, two in zip(found[1], found[2], strict=True)]
    lines = [f"| {number} | {spread(rates, 1)} |" for number, rates in found.items()]
    return f"""\
{config.model.source}, Ray Train, DDP over gloo, one thread a worker, steps of two rows of up to {config.training.max_tokens} \
tokens. {num_rounds} rounds of {num_steps} steps after {WARM_UP_STEPS} to warm up, in turn. Mean, least and most.

| workers | packed tokens/s |
|---|---|
{chr(10).join(lines)}

Two over one: {spread(ratios, 2)} (efficiency {statistics.mean(ratios) / 2:.0%}). A step waits for its longer row.
"""


def main() -> None:
    """Measure and publish."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", 1)[0])
    parser.add_argument("--steps", type=int, default=8, help="measured steps in a round (8)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds (3)")
    parser.add_argument("--write", action="store_true", help="put the section into RESULTS.md")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="changes to the laptop recipe")
    options = parser.parse_args()
    publish("Two training workers", lambda: report(options.overrides, options.steps, options.rounds), (), options.write)


if __name__ == "__main__":
    main()
