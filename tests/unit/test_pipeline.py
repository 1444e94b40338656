"""What decides a stage's fingerprint, where it is not simply its section."""

import json
from pathlib import Path

import pytest
from fake_endpoint import Behaviour, fake_endpoint

from aria_ray.config import load_config
from aria_ray.errors import AriaError, DataError
from aria_ray.pipeline import DATASET, TRAINING, VALIDATION, ask_requests, check
from aria_ray.stage import Run
from aria_ray.terminal import Terminal


def run_of(out, recipe, *overrides):
    return Run(load_config(recipe, overrides), recipe, Path(out), Terminal())


def training(recipe, *overrides):
    return run_of("out", recipe, *overrides).fingerprint(TRAINING)


def test_kernels_that_do_not_compute_leave_the_training_as_it_was():
    assert training("laptop", "hardware.kernels=torch") == training("laptop")
    assert training("h100", "hardware.kernels=torch") == training("h100")


def test_a_training_does_not_change_over_to_other_kernels():
    """They round otherwise."""
    assert training("h100", "hardware.kernels=triton") != training("h100")


def test_kernels_without_a_gpu_are_refused_before_anything_is_made(tmp_path):
    with pytest.raises(AriaError, match=r"hardware.kernels \(triton\) must have a GPU"):
        check(run_of(tmp_path / "out", "laptop", "hardware.kernels=triton"), DATASET, TRAINING)
    assert not list((tmp_path / "out").iterdir())


def test_a_comment_in_the_serve_file_changes_no_validation_and_a_setting_does(tmp_path):
    shipped, path = (Path(__file__).parents[2] / "serve" / "laptop.yaml").read_text(), tmp_path / "serve.yaml"

    def validation(text):
        path.write_text(text)
        return run_of(tmp_path, "laptop", f"serving.file={path}").fingerprint(VALIDATION)

    assert validation(shipped + "# a comment\n") == validation(shipped)
    assert validation(shipped.replace("max_num_seqs: 16", "max_num_seqs: 8")) != validation(shipped)
    with pytest.raises(AriaError, match=r"serve.yaml must be a Ray Serve config"):
        validation("applications: [")


def test_a_file_that_is_changed_while_a_command_runs_makes_no_stage_of_the_old_fingerprint(tmp_path):
    text, path = (Path(__file__).parents[2] / "serve" / "laptop.yaml").read_text(), tmp_path / "serve.yaml"
    path.write_text(text)
    run = run_of(tmp_path / "out", "laptop", f"serving.file={path}")
    run.fingerprint(VALIDATION)
    path.write_text(text.replace("max_num_seqs: 16", "max_num_seqs: 8"))
    with pytest.raises(AriaError, match="validation was changed while this command ran; run it again"):
        run.make(VALIDATION, lambda _directory, _sampler: pytest.fail("the stage ran"))
    assert not (tmp_path / "out").exists()


HOME = '''
from typing import Literal

def set_light(room: Literal["kitchen", "bedroom"], brightness: int) -> str:
    """Set the brightness of the lights in a room."""
    return f"{room} at {brightness}"
'''
KITCHEN = {"name": "set_light", "arguments": {"room": "kitchen", "brightness": 80}}
REQUESTS = (
    {"request": "turn the kitchen lights up to 80", "calls": [KITCHEN]},
    {"request": "make it bright where we cook: 80", "calls": [KITCHEN]},
    {"request": "who wrote Hamlet?", "calls": []},
    {"request": "set the lights to 20", "calls": [], "ask": "room"},
)


def of_home(body):
    """A model that knows every request but the second."""
    last = body["messages"][-1]
    if "kitchen lights" in str(last["content"]):
        function = {"name": "set_light", "arguments": json.dumps(KITCHEN["arguments"])}
        return {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "type": "function", "function": function}]}
    return {"role": "assistant", "content": last["content"] if last["role"] == "tool" else "In which room?"}


@pytest.fixture
def home(tmp_path):
    """A run about the tools of a home, and the files of requests about them."""
    (tmp_path / "home.py").write_text(HOME)
    files = [tmp_path / "one.jsonl", tmp_path / "two.jsonl"]
    for file, lines in zip(files, (REQUESTS[:2], REQUESTS[2:]), strict=True):
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return run_of(tmp_path / "out", "laptop", f"dataset.tools=[{tmp_path / 'home.py'}]"), [str(file) for file in files]


def test_any_endpoint_is_judged_on_files_of_requests_without_a_dataset(home):
    run, files = home
    received = []
    with fake_endpoint(Behaviour(message=of_home), received) as live:
        report, out = ask_requests(run, files, live)
        _, again = ask_requests(run, files, live)
    figures = {metric.name: metric for metric in report.metrics}
    assert (figures["accuracy_your_requests"].value, figures["accuracy_your_requests"].cases) == (0.75, 4)
    assert (figures["calls_your_requests"].value, figures["refusals_your_requests"].value) == (0.5, 1.0)
    assert figures["questions_your_requests"].value == 1.0
    assert figures["accuracy_your_requests_declining"].value == 0.5
    assert figures["accuracy_your_requests_keywords"].value is not None
    assert figures["accuracy"].status == figures["output_tokens_per_s"].status == "unmeasured"
    assert report.provenance.endpoint.base_url == live.base_url
    assert [wrong.request for wrong in report.your_requests.wrong] == ["make it bright where we cook: 80"]
    assert "make it bright where we cook: 80" in (out / "system_report.txt").read_text()
    answers = [json.loads(line) for line in (out / "validation/cases_your_requests.jsonl").read_text().splitlines()]
    assert len(answers) == 4
    assert again != out  # always anew: another model may answer there by now
    assert {path.name for path in run.out.iterdir()} == {out.name, again.name}
    assert all("max_tokens" not in body for body in received)


def test_the_trained_model_is_asked_only_where_it_is_there(home):
    run, files = home
    with pytest.raises(DataError, match="is not complete; run `aria generate`"):
        ask_requests(run, files, None)


def test_a_file_of_requests_that_is_wrong_is_told_before_any_stage(home, tmp_path):
    run, files = home
    wrong = Path(files[0])
    wrong.write_text(json.dumps({"request": "bright", "calls": [{"name": "set_lamp", "arguments": {}}]}) + "\n")
    with pytest.raises(DataError, match="set_lamp"):
        ask_requests(run, files, None)
    tools = f"dataset.tools=[{tmp_path / 'home.py'}]"
    with pytest.raises(DataError, match="set_lamp"):
        check(run_of(tmp_path / "other", "laptop", tools, f"validation.requests=[{wrong}]"), VALIDATION)


def test_what_a_file_of_requests_says_decides_the_validation(home, tmp_path):
    _, files = home
    tools = f"dataset.tools=[{tmp_path / 'home.py'}]"

    def validation():
        return run_of(tmp_path / "out", "laptop", tools, f"validation.requests=[{files[0]}]").fingerprint(VALIDATION)

    before = validation()
    Path(files[0]).write_text(json.dumps(REQUESTS[2]) + "\n")
    assert validation() != before
    Path(files[0]).unlink()
    with pytest.raises(DataError, match=r"of validation\.requests is no file"):
        validation()
