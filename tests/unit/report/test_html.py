"""The page says what the report says, in order, and lets nothing of a model's output become markup."""

import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser

import pytest
import synthetic_run

from aria_ray.records import Metric, RequestsSummary, WrongRequest
from aria_ray.report.evidence import Evidence, read_evidence
from aria_ray.report.html import MAX_CASES, figure_text, interval_text, render_html, target_text
from aria_ray.results import Estimate, Quality, Speed, ValidationResult

FETCHING = {"script", "iframe", "object", "embed", "link", "base", "img", "image", "video", "audio", "form", "input"}


class Page(HTMLParser):
    """What a page is made of: its tags with their attributes, and its text."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.chunks = [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.chunks.append(data)

    @property
    def words(self):
        return " ".join(" ".join(self.chunks).split())


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    report = synthetic_run.write_run(out)
    return report, read_evidence(report, out)


@pytest.fixture(scope="module")
def page(run):
    return render_html(*run)


def without_plots(report, evidence):
    """The page without what takes long to draw."""
    few = replace(evidence, steps=(), waits=(), telemetry={}, rows={}, crossing={})
    return Page(render_html(report, replace(few, validation=ValidationResult())))


def test_the_page_is_one_file_that_fetches_nothing(page):
    parsed = Page(page)
    assert not FETCHING & {tag for tag, _ in parsed.tags}
    for tag, attributes in parsed.tags:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            if name in ("href", "src", "xlink:href"):
                assert value.startswith("#")
    assert "@import" not in page
    assert not re.findall(r"url\((?!#)", page)
    assert len(page.encode()) < 1_500_000


def test_parts_stand_in_their_order(page):
    headings = re.findall("<h[12]>(.*?)</h[12]>", page)
    assert headings[:2] == ["Your requests", "not ready"]
    assert headings[2].startswith("Your requests: ")
    assert headings[3:] == ["Targets", "Plots", "Speed", "Accuracy", "Failed cases", "Provenance"]


def test_requests_in_peoples_words_stand_beside_what_the_model_has_to_beat(page, run):
    words = Page(page).words
    for said in (
        *run[0].your_requests.sentences,
        "this model 77.8 % 65.1 to 86.8 % 75.0 % 59.8 to 85.8 % 85.7 % 60.1 to 96.0 %",
        "keyword baseline 44.4 % 32.0 to 57.6 % 33.0 % 16.0 to 48.0 %",
        "always declining 25.9 %",
        "base model 16.7 %",
        'lights out please set_light({"on": false}) I cannot help with that. no call',
        "your requests, base model: 9 correct, 45 wrong",
    ):
        assert said in words


def test_a_page_without_requests_in_peoples_words_has_no_part_for_them(run):
    report, evidence = run
    assert "Your requests" not in without_plots(report.model_copy(update={"your_requests": None}), evidence).words


def test_the_banner_says_verdict_percent_conditions_and_reasons(run):
    report, evidence = run
    words = without_plots(report, evidence).words
    for said in ("Readiness 10 %", "inference, 30 % not met", "accuracy inconclusive", "tool compliance met", *report.reasons):
        assert said in words


def test_criteria_come_first_among_the_targets_with_their_weights(run):
    words = without_plots(*run).words
    rows = words[words.index("Targets") :]
    assert "output tokens per s 57.1 tokens/s at least 310 tokens/s not met 53.0 to 61.2 tokens/s inference (30 %)" in rows
    assert "train step ms 3,012 ms at most 150 ms not met training (25 %) median" in rows
    assert "compute utilization unmeasured at least 80 % unmeasured hardware (15 %)" in rows
    assert rows.index("inference (30 %)") < rows.index("stability (10 %)") < rows.index("tools sent as strict")


def test_a_page_of_nothing_says_what_is_unmeasured(run):
    report, _ = run
    parsed = Page(render_html(report.model_copy(update={"reasons": (), "metrics": ()}), Evidence()))
    assert "svg" not in {tag for tag, _ in parsed.tags}
    assert parsed.words.count("unmeasured: no") == 15
    assert "unmeasured: no steps in training/log.jsonl" in parsed.words


def test_a_run_without_training_and_dataset(tmp_path):
    report = synthetic_run.write_run(tmp_path)
    for stage in ("dataset", "training"):
        shutil.rmtree(tmp_path / stage)
    words = Page(render_html(report, read_evidence(report, tmp_path))).words
    assert "unmeasured: no steps in training/log.jsonl" in words
    assert "unmeasured: no load" not in words


def test_shares_of_ours_and_of_the_base_model_stand_beside_each_other(page, run):
    _, evidence = run
    words = Page(page).words
    shares = (each.by_category["math"] for each in (evidence.validation.quality, evidence.validation.quality_base))
    told = [f"{figure_text(share.value, 'share')} {interval_text(share.interval, 'share')}" for share in shares]
    assert f"math {told[0]} 20 {told[1]}" in words
    assert "simple python 77.5 % 62.5 to 87.7 % 40 22.5 %" in words
    assert "tools never seen in training accuracy 10.3 %" in words


def test_a_leaderboard_share_that_cannot_be_told_is_unmeasured_with_its_reason(run):
    report, _ = run
    none = Estimate(value=None, cases=0, interval=None, reason="all 40 requests failed")
    words = Page(render_html(report, Evidence(validation=ValidationResult(bfcl={"multiple": none})))).words
    assert "multiple unmeasured all 40 requests failed 0" in words


def test_a_load_that_the_client_limited_is_unmeasured(run):
    report, _ = run
    none = {key: None for key in ("output_tokens_per_s", "output_tokens_per_s_interval", "ttft_ms", "tpot_ms", "e2e_ms")}
    level = synthetic_run.level(512).model_copy(update=none | {"client_limited": True})
    bare = Evidence(validation=ValidationResult(speed=Speed(levels=(level,))))
    words = Page(render_html(report, bare)).words
    assert (
        "closed, 512 streams unmeasured: the client was the limit unmeasured unmeasured unmeasured unmeasured 0 of 32" in words
    )


def test_a_failed_case_is_there_to_read(page, run):
    _, evidence = run
    words = Page(page).words
    for part in (
        "why calls differ from the reference: expected percent_of(percent=15, value=80)",
        "thought ask: percentage; function: percent_of",
        'call percent_of({"percent": 15, "value": 80})',
        "tool result 12",
        "answer It is 12.",
        f"{len(evidence.failed_cases)} held-out cases that were not answered right (of 100)",
    ):
        assert part in words


def hostile_case(text):
    case = synthetic_run.make_cases(synthetic_run.random.Random(0), 0.0)[0]
    call = {"function": {"name": text, "arguments": text}}
    turns = [
        {"role": "user", "content": text},
        {"role": "assistant", "reasoning": text, "content": text, "tool_calls": [call]},
        {"role": "tool", "content": text},
        {"role": text, "content": {"not": ["text", text]}},
        {"role": "assistant", "reasoning": None, "content": None},
    ]
    return case | {"id": text, "category": text, "scenario": text, "detail": text, "transcript": turns}


def test_hostile_text_stays_text(run):
    report, evidence = run
    parsed = without_plots(report, replace(evidence, failed_cases=(hostile_case(synthetic_run.HOSTILE),)))
    assert not FETCHING & {tag for tag, _ in parsed.tags}
    assert "".join(parsed.chunks).count(synthetic_run.HOSTILE) >= 8


def test_hostile_text_in_a_report_and_in_labels_stays_text(run):
    report, evidence = run
    hostile = synthetic_run.HOSTILE
    metric = Metric(name=hostile, value=1.0, unit=hostile, target=2.0, status="not_met", detail=hostile)
    machine = report.provenance.machine.model_copy(update={"processor": hostile})
    changes = {"config": {hostile: hostile}, "machine": machine, "versions": {hostile: "1"}}
    provenance = report.provenance.model_copy(update=changes)
    wrong = WrongRequest(request=hostile, kind="no call", wanted=hostile, got=hostile)
    requests = RequestsSummary(sentences=(hostile,), next_step=hostile, wrong=(wrong,) * 30)
    told = report.model_copy(
        update={"metrics": (metric,), "reasons": (hostile,), "provenance": provenance, "your_requests": requests}
    )
    share = synthetic_run.share(1, 2)
    quality = Quality(outcomes={hostile: 1}, accuracy=share, by_category={hostile: share})
    samples = {**evidence.telemetry["dataset"], "marks": [[1, hostile]]}
    marked = Evidence(
        validation=ValidationResult(quality=quality, your_requests=evidence.validation.your_requests),
        telemetry={"dataset": samples},
        crossing={(hostile, hostile): 1},
        left_out=(hostile,),
    )
    parsed = Page(render_html(told, marked))
    assert not FETCHING & {tag for tag, _ in parsed.tags}
    assert [tag for tag, _ in parsed.tags].count("svg") == 3


def test_very_long_texts_are_cut_and_the_page_stays_small(run):
    report, evidence = run
    long = "<&\"'" * 50_000
    many = tuple(hostile_case(long) for _ in range(3 * MAX_CASES))
    page = render_html(report, replace(evidence, failed_cases=many))
    assert "more characters)" in page
    assert Page(page).tags.count(("details", {"class": "case"})) == MAX_CASES
    assert len(page.encode()) < 1_500_000


def test_text_that_utf_8_cannot_hold_does_not_stop_the_page(run, tmp_path):
    report, evidence = run
    text = json.loads('"a \\ud800 b \\u0000 c"')
    page = render_html(report, replace(evidence, failed_cases=(hostile_case(text),), steps=(), waits=(), telemetry={}))
    (tmp_path / "report.html").write_text(page, encoding="utf-8")
    assert "a ? b" in page


def test_stages_left_out_are_named(run):
    report, _ = run
    assert (
        "Left out: training/ was made again"
        in Page(render_html(report, Evidence(left_out=("training/ was made again",)))).words
    )


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (None, "ms", "unmeasured"),
        (0.8, "share", "80.0 %"),
        (0.0, "share", "0.0 %"),
        (53.6345, "tokens/s", "53.6 tokens/s"),
        (3302.4, "ms", "3,302 ms"),
        (310.0, "ms", "310 ms"),
        (0.0482, "ratio", "0.0482"),
        (2e11, "flop/s", "2.000e+11 flop/s"),
        (-12.34, "", "-12.3"),
    ],
)
def test_figures_are_written_for_people(value, unit, text):
    assert figure_text(value, unit) == text


def test_intervals_and_targets_are_written_for_people():
    assert interval_text((0.711, 0.8666), "share") == "71.1 to 86.7 %"
    assert interval_text((53.0, 61.2), "tokens/s") == "53.0 to 61.2 tokens/s"
    assert interval_text(None, "ms") == ""
    assert target_text(Metric(name="ttft_ms", value=None, unit="ms", target=200.0)) == "at most 200 ms"
    assert target_text(Metric(name="accuracy", value=None, unit="share", target=0.55)) == "at least 55 %"
    assert target_text(Metric(name="stability_cv", value=None, unit="ratio", target=0.15)) == "at most 0.15"
    assert target_text(Metric(name="accuracy", value=0.5, unit="share")) == ""
