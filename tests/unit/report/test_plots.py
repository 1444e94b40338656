"""Every picture is drawn from what a run leaves, is fit to stand in a page, and is left out where nothing was measured."""

import json
import math
import re
import shutil
from dataclasses import replace
from xml.etree import ElementTree

import pytest
import synthetic_run

from aria_ray.report.evidence import Evidence, read_evidence
from aria_ray.report.html import PLOTS
from aria_ray.report.plots import crossing, curriculum, utilisation
from aria_ray.report.serving_plots import accuracy, latency, sustained, throughput, waits
from aria_ray.report.svg import MAX_POINTS, SERIES, drawing, thinned, to_svg
from aria_ray.results import Speed, ValidationResult

TITLES = [plot.title for plot in PLOTS]


def texts(svg):
    """All the text that a picture shows, and its title first."""
    return [element.text or "" for element in ElementTree.fromstring(svg).iter() if element.tag in ("title", "text")]


@pytest.fixture(scope="module")
def evidence(tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    return read_evidence(synthetic_run.write_run(out), out)


@pytest.fixture(scope="module")
def pictures(evidence):
    return {plot.title: plot.draw(evidence) for plot in PLOTS}


@pytest.mark.parametrize("title", TITLES)
def test_a_picture_is_a_labelled_svg_in_the_colours_of_the_page(title, pictures):
    svg = pictures[title]
    root = ElementTree.fromstring(svg)
    assert root.attrib["role"] == "img"
    title = root.find("title")
    assert root.attrib["aria-labelledby"] == title.attrib["id"]
    assert title.text
    assert re.findall(r"#[0-9a-f]{6}\b", svg) == []  # every colour is a variable
    assert "var(--series-" in svg
    assert root.find(".//style") is None  # it would reach beyond the picture
    assert len(root.findall(".//text")) > 3  # text, not outlines of letters


def test_no_two_ids_of_the_page_are_the_same_and_every_reference_has_its_own(pictures):
    ids, references = [], []
    for svg in pictures.values():
        own = re.findall(r'\bid="([^"]+)"', svg)
        ids += own
        references += [(reference, own) for reference in re.findall(r'(?:href="#|url\(#)([^")]+)', svg)]
    assert len(ids) == len(set(ids))
    assert references
    assert all(reference in own for reference, own in references)


@pytest.mark.parametrize("plot", PLOTS, ids=TITLES)
def test_the_same_evidence_gives_the_same_picture(plot, evidence, pictures):
    assert plot.draw(evidence) == pictures[plot.title]


@pytest.mark.parametrize("plot", PLOTS, ids=TITLES)
def test_what_was_not_measured_has_no_picture(plot):
    assert plot.draw(Evidence()) is None


def test_gates_show_what_they_said(evidence):
    svg = curriculum(evidence)
    for shown in ("foundation", "application", "integration", "mastery", "66 %", "94 %"):
        assert shown in texts(svg)
    assert "application 66% failed, application 86% target" in texts(svg)[0]
    assert svg.count("var(--not-met)") > curriculum(replace(evidence, evaluations=evidence.evaluations[:1])).count(
        "var(--not-met)"
    )


def test_throughput_says_each_rate_and_leaves_out_what_has_none(evidence):
    one, four, many = (synthetic_run.level(streams) for streams in (1, 4, 16))
    refused = {"output_tokens_per_s": None, "output_tokens_per_s_interval": None, "ttft_ms": None, "client_limited": True}
    without = many.model_copy(update={"output_tokens_per_s_interval": None})
    levels = (one, four.model_copy(update=refused), without)
    svg = throughput(Evidence(validation=ValidationResult(speed=Speed(levels=levels))))
    assert "8.2 with 1, 57.11 with 16" in texts(svg)[0]
    assert "4" not in texts(svg)
    assert "roofline bound" not in texts(svg)
    assert "roofline bound" in texts(throughput(evidence))


def test_latency_of_a_level_without_one_of_the_three(evidence):
    levels = tuple(synthetic_run.level(streams).model_copy(update={"tpot_ms": None}) for streams in (1, 2))
    svg = latency(Evidence(validation=ValidationResult(speed=Speed(levels=levels))))
    assert "650 ms with 1" in texts(svg)[0]
    assert "time to first token (ms)" in texts(latency(evidence))


def test_waits_of_many_levels_are_a_choice_with_both_ends(evidence):
    many = tuple(replace(evidence.waits[0], concurrency=2**power) for power in range(9))
    shown = texts(waits(replace(evidence, waits=many)))
    assert "1 streams" in shown[0]
    assert "256 streams" in shown[0]
    assert shown[0].count("streams") == 1 + len(SERIES)


def test_accuracy_without_a_base_model(evidence):
    requests = evidence.validation.your_requests.model_copy(update={"base": None})
    without = evidence.validation.model_copy(update={"quality_base": None, "your_requests": requests})
    svg = accuracy(replace(evidence, validation=without))
    assert "base model" not in texts(svg)
    assert "base model" in texts(accuracy(evidence))
    assert "tool errors" in texts(svg)


def test_accuracy_of_requests_in_peoples_words_alone(evidence):
    requests = ValidationResult(your_requests=evidence.validation.your_requests)
    shown = texts(accuracy(replace(evidence, validation=requests)))
    assert "your requests" in shown
    assert "all" not in shown


@pytest.mark.parametrize("gpus", [0, 1, 8])
def test_utilisation_with_any_number_of_gpus(gpus, tmp_path):
    report = synthetic_run.write_run(tmp_path, gpus=gpus)
    shown = texts(utilisation("training")(read_evidence(report, tmp_path)))
    assert {0: "GPU" not in "".join(shown), 1: "GPU" in shown, 8: "mean of 8 GPUs" in shown}[gpus]
    assert "minutes" in shown


def test_utilisation_of_a_cluster_shows_the_mean_of_its_nodes(evidence):
    """A node that joined late, and one that died."""
    samples = evidence.telemetry["training"]
    half = len(samples["t_s"]) // 2
    nodes = [
        {"node": "10.0.0.1", "cpu_share": [0.2] * half + [None] * half, "memory_gib": [3.0] * half + [None] * half},
        {"node": "10.0.0.2", "cpu_share": [None] * half + [0.9] * half, "memory_gib": [None] * half + [7.0] * half},
    ]
    cluster = replace(evidence, telemetry={"training": samples | {"nodes": nodes}})
    assert "mean of 2 nodes" in texts(utilisation("training")(cluster))
    alone = replace(evidence, telemetry={"training": samples | {"nodes": nodes[:1]}})
    assert "nodes" not in "".join(texts(utilisation("training")(alone)))


def test_marks_close_together_share_a_label(evidence):
    samples = evidence.telemetry["training"] | {"marks": [[0, "a"], [400, "b"], [410, "c"], [800, "d"]]}
    shown = texts(utilisation("training")(replace(evidence, telemetry={"training": samples})))
    assert shown[shown.index("2\N{EN DASH}3") - 1 :][:3] == ["1", "2\N{EN DASH}3", "4"]


def test_a_telemetry_of_nulls_and_of_one_sample(evidence):
    nulls = {"t_s": [0, 1, 2], "cpu_share": [None, None, None], "memory_gib": [], "gpus": [], "marks": []}
    assert "unmeasured" in texts(utilisation("dataset")(replace(evidence, telemetry={"dataset": nulls})))[0]
    one = {"t_s": [0], "cpu_share": [0.5], "memory_gib": [1.0]}
    assert "50%" in texts(utilisation("dataset")(replace(evidence, telemetry={"dataset": one})))[0]


def test_sustained_load_without_memory(evidence):
    stability = evidence.validation.stability.model_copy(update={"memory_gib": ()})
    shown = texts(sustained(Evidence(validation=ValidationResult(stability=stability))))
    assert "20 windows of 6 s" in shown[0]
    assert "memory (GiB)" not in shown
    assert "memory (GiB)" in texts(sustained(evidence))


def test_the_users_own_rows_are_not_in_the_composition(evidence):
    assert sum(evidence.crossing.values()) == 1599
    assert "1599 rows" in texts(crossing(evidence))[0]


def test_labels_are_text_whatever_they_hold():
    with drawing(2) as (figure, (panel,)):
        panel.set_title('</svg><script>a</script> $x^{$ id="figure_1"')
        svg = to_svg(figure, "hostile", "<b>")
    assert "<script" not in svg
    assert '</svg><script>a</script> $x^{$ id="figure_1"' in texts(svg)


def test_thinning_keeps_the_mean_and_the_gaps():
    x, y = thinned(range(10_000), [*[1.0] * 5000, *[float("nan")] * 5000])
    assert len(x) == len(y) == MAX_POINTS
    assert sum(x) / len(x) == pytest.approx(4999.5, rel=1e-3)
    assert y[0] == 1.0
    assert math.isnan(y[-1])
    assert thinned([1, 2, 3], [5.0, 7.0]) == ([1, 2], [5, 7])


def test_evidence_of_an_absent_run_is_empty(run_directory, tmp_path):
    _, report = run_directory
    assert read_evidence(report, tmp_path / "nowhere") == Evidence()


def test_damaged_files_leave_only_their_own_part_out(run_directory):
    out, report = run_directory
    for name in ("training/curriculum.json", "validation/load.json", "dataset/telemetry.json"):
        (out / name).write_text('{"torn": ', encoding="utf-8")
    with (out / "training/log.jsonl").open("a", encoding="utf-8") as log:
        log.write('{"event": "step", "total')
    found = read_evidence(report, out)
    assert len(found.steps) == 250
    assert len(found.evaluations) == 5
    assert found.transitions == ()
    assert found.waits == ()
    assert set(found.telemetry) == {"training", "validation"}
    assert curriculum(found)


def test_steps_done_again_after_a_resume_count_once(run_directory):
    out, report = run_directory
    again = {"event": "step", "stage": "mastery", "attempt": 0, "total_steps": 250, "loss": 9.0, "learning_rate": 1e-3}
    with (out / "training/log.jsonl").open("a", encoding="utf-8") as log:
        log.write(json.dumps(again) + "\n")
    found = read_evidence(report, out)
    assert len(found.steps) == 250
    assert found.steps[-1]["loss"] == 9.0


def test_a_stage_made_again_since_the_report_is_left_out_and_named(run_directory):
    out, report = run_directory
    manifest = json.loads((out / "training/manifest.json").read_text())
    (out / "training/manifest.json").write_text(json.dumps(manifest | {"fingerprint": "another"}))
    found = read_evidence(report, out)
    assert found.steps == ()
    assert "training" not in found.telemetry
    assert found.levels
    assert ["training/" in note and "another" in note for note in found.left_out] == [True]


def test_a_run_without_training_still_has_its_pictures(run_directory):
    out, report = run_directory
    shutil.rmtree(out / "training")
    shutil.rmtree(out / "dataset")
    found = read_evidence(report, out)
    drawn = {plot.title for plot in PLOTS if plot.draw(found)}
    assert drawn == {"Throughput", "Latency", "Waiting", "Accuracy", "Sustained load", "Machine during validation"}


def test_failed_cases_take_turns_by_scenario(run_directory):
    out, report = run_directory
    failed = read_evidence(report, out).failed_cases
    scenarios = [case["scenario"] for case in failed]
    assert sorted(scenarios[:4]) == list(synthetic_run.SCENARIOS)
    assert all(case["outcome"] != "correct" for case in failed)
