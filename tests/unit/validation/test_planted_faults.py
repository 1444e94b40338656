"""Faults planted in an endpoint, and what the report then says: each is seen, and none of them is ever ready."""

import json
from contextlib import contextmanager

import pytest
from fake_endpoint import Behaviour, fake_endpoint
from manifests import manifest_of

from aria_ray.config import load_config
from aria_ray.grammar import Call, answer_message, thought_for_calls, thought_without_call, tool_call_message
from aria_ray.report import build_report, render_text
from aria_ray.results import ValidationResult
from aria_ray.telemetry.sampler import MachineSampler
from aria_ray.tools import TOOLS, tool_definition
from aria_ray.validation import quality
from aria_ray.validation.measure import Measurement

TOOL = tool_definition(TOOLS["multiply"])
NAMES = list(TOOL["function"]["parameters"]["properties"])
OVERRIDES = {
    "num_cases": 40,
    "concurrency": 4,
    "sweep": "[]",
    "load_requests": 48,
    "output_tokens": 16,
    "stability_s": 6,
    "poisson_share": 0,
    "request_timeout_s": 20,
    "targets.output_tokens_per_s": 100,
    "targets.output_roofline_share": "null",
}


def case(number):
    call = Call("multiply", dict(zip(NAMES, (number, 3), strict=True)))
    names = json.dumps({"multiply": {"tool": "multiply", "parameters": {name: name for name in NAMES}}})
    return {
        "id": f"case-{number:02}",
        "category": "math",
        "scenario": "hit",
        "difficulty": 1,
        "split": "test",
        "tools": [TOOL],
        "tool_names": names,
        "answer_contains": [str(3 * number)],
        "messages": [
            {"role": "user", "content": f"What is {number} times 3?"},
            tool_call_message(thought_for_calls("product", [call]), [call]),
            {"role": "tool", "tool_call_id": "call_0", "content": str(3 * number)},
            answer_message(thought_without_call("product", "result is ready"), f"It is {3 * number}."),
        ],
    }


CASES = [case(number) for number in range(10, 50)]


def right(body):
    """What a good model says to a request: the call first, then the tool's result."""
    messages = body["messages"]
    if messages[-1]["role"] == "tool":
        thought = thought_without_call("product", "result is ready")
        return {"role": "assistant", "reasoning": thought, "content": f"It is {messages[-1]['content']}."}
    number = int(messages[-1]["content"].split()[2])
    reference = case(number)["messages"][1]
    calls = [{**item, "id": f"call-{number}"} for item in reference["tool_calls"]]
    return {"role": "assistant", "reasoning": reference["reasoning_content"], "content": None, "tool_calls": calls}


def text_only(body):
    """A server that was started without its tool parser."""
    message = right(body)
    calls = message.pop("tool_calls", None)
    return message if calls is None else {**message, "content": "I would call a tool."}


def leaking(body):
    """A server that was started without its reasoning parser."""
    message = right(body)
    thought = message.pop("reasoning")
    return {**message, "reasoning": None, "content": f"<think>{thought}</think>{message['content'] or ''}"}


@contextmanager
def silent(_title):
    yield lambda _done, _total, _what: None


def prove(tmp_path, behaviour, *, parts=("quality", "speed", "stability"), received=None, cases=CASES):
    """The figures of the report on an endpoint that behaves so, by name, and the report."""
    config = load_config("laptop", [f"validation.{key}={value}" for key, value in OVERRIDES.items()])
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps(row) + "\n" for row in cases))
    with fake_endpoint(behaviour, received) as endpoint, MachineSampler() as sampler:
        measurement = Measurement(config.validation, rows, tmp_path, silent, sampler)
        for part in parts:
            getattr(measurement, part)(endpoint)
    result = ValidationResult.model_validate_json(measurement.result().model_dump_json())
    report = build_report(config, "laptop", validation=manifest_of("validation", result))
    assert report.verdict == "not ready"  # no training was measured, whatever the endpoint does
    assert render_text(report)
    return {metric.name: metric for metric in report.metrics}, report


STEADY = Behaviour(ttft_s=0.01, gap_s=0.01, tokens=16, message=right)


@pytest.mark.subprocess
def test_without_a_fault_all_that_the_endpoint_decides_is_met(tmp_path):
    figures, report = prove(tmp_path, STEADY)
    assert report.conditions == {"accuracy": "met", "tool_compliance": "met"}
    stand = {criterion.name: criterion.status for criterion in report.criteria}
    assert stand["inference"] == "met", figures["output_tokens_per_s"]
    assert figures["failed_requests"].status == "met"
    assert stand["training"] == "unmeasured"
    for name in ("ttft_cold_ms", "ttft_warm_ms", "single_stream_tokens_per_s", "tpot_ms", "client_cpu_share"):
        assert figures[name].value > 0


@pytest.mark.subprocess
def test_a_slow_server(tmp_path):
    figures, report = prove(tmp_path, Behaviour(ttft_s=0.1, gap_s=0.05, tokens=8), parts=("speed",))
    assert figures["output_tokens_per_s"].status == "not_met"
    assert any("output_tokens_per_s is" in reason for reason in report.reasons)


@pytest.mark.subprocess
def test_a_server_that_dies_half_way(tmp_path, monkeypatch):
    monkeypatch.setattr(quality, "RETRY_S", 0.0)
    figures, _ = prove(
        tmp_path,
        Behaviour(ttft_s=0.01, gap_s=0.01, tokens=16, error_at=range(60, 10**9), message=right),
        parts=("quality", "stability"),
    )
    assert figures["accuracy"].status != "met"
    assert "requests failed" in figures["accuracy"].detail
    assert figures["accuracy"].value == 1.0  # the cases that it answered are right, and judge no more than themselves
    assert figures["failed_requests"].value == 1.0
    assert figures["failed_requests"].status == "not_met"
    assert figures["stability_cv"].status == "unmeasured"


@pytest.mark.subprocess
def test_a_server_that_fails_now_and_then_under_load_is_not_stable(tmp_path):
    figures, report = prove(tmp_path, Behaviour(ttft_s=0.01, gap_s=0.01, cut_at=range(60, 10**6, 10)), parts=("stability",))
    assert figures["failed_requests"].status == "not_met"
    assert {criterion.name: criterion.status for criterion in report.criteria}["stability"] == "not_met"


@pytest.mark.parametrize(("message", "compliance"), [(text_only, "not_met"), (leaking, "not_met")])
def test_a_server_that_answers_200_without_calls_or_with_its_thoughts(tmp_path, message, compliance):
    figures, report = prove(tmp_path, Behaviour(message=message), parts=("quality",))
    assert figures["accuracy"].status == "not_met"
    assert figures["tool_compliance"].status == compliance
    assert report.conditions["accuracy"] == "not_met"


def test_a_scorer_that_raises(tmp_path):
    """A case's own tool has no sound schema, so checking its call raises: counted apart, and nothing is met by the rest."""
    broken = json.loads(json.dumps(CASES[0]))
    broken["tools"][0]["function"]["parameters"] = {"type": 7}
    figures, report = prove(tmp_path, Behaviour(message=right), parts=("quality",), cases=[broken, *CASES[1:]])
    assert "1 checks failed" in figures["accuracy"].detail
    assert (figures["accuracy"].value, figures["accuracy"].cases) == (1.0, len(CASES) - 1)
    assert figures["accuracy"].status == "inconclusive"
    assert report.conditions["accuracy"] == "inconclusive"


class Leak(list):
    """Keeps 4 MiB of every request, written to, so that they are really taken."""

    def append(self, body):
        super().append(body)
        self.kept = [*getattr(self, "kept", []), bytearray(b"x") * (4 * 2**20)]


@pytest.mark.subprocess
def test_a_memory_leak(tmp_path):
    figures, report = prove(tmp_path, STEADY, parts=("stability",), received=Leak())
    assert figures["memory_growth"].status == "not_met", figures["memory_growth"]
    assert {criterion.name: criterion.status for criterion in report.criteria}["stability"] == "not_met"


@pytest.mark.subprocess
def test_a_throughput_that_decays(tmp_path):
    figures, report = prove(tmp_path, Behaviour(ttft_s=0.01, gap_s=0.01, decay_per_s=0.5), parts=("stability",))
    assert figures["stability_drift"].value < -0.15
    assert figures["stability_drift"].status == "not_met", figures["stability_drift"]
    assert {criterion.name: criterion.status for criterion in report.criteria}["stability"] == "not_met"


def requests(number):
    """A case as people's words make it, which is right by its calls alone."""
    row = case(number)
    return {**row, "id": f"request/{number:04}/none-0", "template_family": f"request/{number:04}", "answer_contains": []}


@pytest.mark.subprocess
def test_requests_in_peoples_words_of_the_dataset_are_the_headline(tmp_path):
    """They are no held-out conversations, and `num_cases` leaves none of them out."""
    rows = [*(requests(number) for number in range(10, 60)), *CASES[:3]]
    figures, report = prove(tmp_path, STEADY, parts=("base_model", "quality"), cases=rows)
    assert (figures["accuracy_your_requests"].value, figures["accuracy_your_requests"].cases) == (1.0, 50)
    assert (figures["accuracy"].value, figures["accuracy"].cases) == (1.0, 3)
    assert report.conditions == {"accuracy_your_requests": "met", "tool_compliance_your_requests": "met"}
    assert figures["accuracy_your_requests_declining"].value == 0.0
    assert figures["accuracy_your_requests_over_declining"].interval[0] > 0.8
    assert figures["accuracy_your_requests_over_base"].value == 0.0
    assert any("does not beat the base model" in sentence for sentence in report.your_requests.sentences)


@pytest.mark.subprocess
def test_requests_that_the_server_fails_to_answer_are_not_wrong(tmp_path, monkeypatch):
    monkeypatch.setattr(quality, "RETRY_S", 0.0)
    figures, report = prove(
        tmp_path,
        Behaviour(message=right, error_at=range(21, 10**9)),
        parts=("quality",),
        cases=[requests(number) for number in range(10, 60)],
    )
    headline = figures["accuracy_your_requests"]
    assert headline.value == 1.0
    assert headline.cases < 50
    assert headline.status == "inconclusive"
    assert "requests failed" in report.your_requests.sentences[0]
