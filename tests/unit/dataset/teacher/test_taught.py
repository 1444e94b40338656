"""Requests of a teacher, against a fake one that is wrong in every way a large model is, and an endpoint that fails."""

import json
import socket

import pytest
from fake_endpoint import Behaviour, fake_endpoint
from fake_teacher import EXAMPLE, FakeTeacher

from aria_ray.config.schema import DatasetConfig
from aria_ray.dataset.from_requests.own import own_requests
from aria_ray.dataset.from_requests.rows import RequestRows
from aria_ray.dataset.inputs import dataset_inputs
from aria_ray.dataset.teacher import asking
from aria_ray.dataset.teacher.taught import taught_requests
from aria_ray.errors import DataError
from aria_ray.requests.example import ExampleCall, ExampleRequest
from aria_ray.requests.values import find

ROOMS = ("kitchen", "bedroom", "hall", "attic", "study", "bathroom")
ALL = range(1, 10**9)


def definition(name="set_light", description="Make the lamp of one of the rooms brighter or darker.", **properties):
    properties = properties or {
        "room_name": {"type": "string", "enum": list(ROOMS), "description": "The room where it is."},
        "level": {"type": "integer", "minimum": 1, "maximum": 100},
    }
    parameters = {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


TOOLS = {"set_light": definition()}
EXAMPLES = [
    ExampleRequest(request=EXAMPLE, calls=(ExampleCall(name="set_light", arguments={"room_name": "hall", "level": 30}),))
]
COUNT = 10
WITHOUT_CALL = 2
"""Near misses, and requests without a tool: a fifth of COUNT each."""


def config(endpoint=None, base_url=None, **changes):
    teacher = {"base_url": endpoint.base_url if endpoint else base_url, "model": "fake", "requests_per_tool": COUNT} | changes
    return DatasetConfig(num_templates=0, tools=("tools.json",), teacher=teacher)


def taught(tmp_path, fake, tools=TOOLS, examples=EXAMPLES, held_out=(), received=None, **behaviour):
    with fake_endpoint(Behaviour(message=fake.message, **behaviour), received) as endpoint:
        return taught_requests(config(endpoint), tools, examples, tmp_path / "cache", held_out=held_out)


def test_requests_that_prove_right_are_kept(tmp_path):
    result = taught(tmp_path, FakeTeacher())
    calls = [request.calls[0] for request in result.requests if request.calls]
    assert result.yields["asked_for"] == COUNT + 2 * WITHOUT_CALL
    assert result.yields["kept"] == len(result.requests)
    assert sum(result.yields.values()) == 2 * result.yields["asked_for"]
    assert len(calls) >= COUNT - 1
    assert len({str(call.arguments) for call in calls}) > COUNT / 2
    for request in result.requests:
        for call in request.calls:
            assert call.arguments["room_name"] in ROOMS
            assert all(find(value, request.request) for value in call.arguments.values())
    assert {request.answer for request in result.requests} == {None}


@pytest.mark.parametrize(
    ("fault", "reason"),
    {
        "prose": "no_json",
        "nothing": "no_json",
        "nested": "no_json",
        "wrong_numbers": "no_json",
        "value_missing": "value_missing",
        "too_long": "too_long",
        "placeholder": "placeholder",
        "name_of_parameter": "schema_echo",
        "assignment": "schema_echo",
        "description": "schema_echo",
        "style": "prompt_echo",
        "example_copied": "near_duplicate",
        "no_letters": "not_written",
        "surrogate": "not_written",
        "control_sign": "not_written",
        "no_call": "no_call",
        "other_value": "other_call",
        "other_tool": "other_call",
        "twice": "other_call",
        "arguments_no_json": "other_call",
        "arguments_nested": "other_call",
    }.items(),
)
def test_every_kind_of_wrong_is_refused_and_counted(tmp_path, fault, reason):
    result = taught(tmp_path, FakeTeacher(fault))
    assert result.requests == ()  # who never chooses a right call proves nothing by calling none
    assert result.yields[reason] >= COUNT - 1  # a right one may be like another
    assert sum(result.yields.values()) == 2 * result.yields["asked_for"]


@pytest.mark.parametrize("fault", ["fenced", "thought", "strings", "numbers_as_text", "arguments_as_object"])
def test_json_in_any_form_is_read(tmp_path, fault):
    assert taught(tmp_path, FakeTeacher(fault)).yields == taught(tmp_path / "plain", FakeTeacher()).yields


def test_of_half_an_answer_the_whole_requests_are_taken(tmp_path):
    result = taught(tmp_path, FakeTeacher("half_json"))
    assert len([request for request in result.requests if request.calls]) == 2  # the first of each of two orders
    assert result.yields["not_written"] == COUNT - 2 + 2 * WITHOUT_CALL - 2


def test_one_sentence_with_other_values_is_one_request(tmp_path):
    result = taught(tmp_path, FakeTeacher("frame_repeated"))
    assert len([request for request in result.requests if request.calls]) == 1
    assert result.yields["near_duplicate"] >= COUNT - 1


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ({"finish_reason": "length"}, "cut_off"),
        ({"finish_reason": "content_filter"}, "filtered"),
        ({"error_at": ALL, "error_status": 400, "error_code": "content_filter"}, "filtered"),
    ],
)
def test_what_ended_an_answer_is_the_reason_for_what_it_lacks(tmp_path, behaviour, reason):
    result = taught(tmp_path, FakeTeacher("nothing"), **behaviour)
    assert result.requests == ()
    assert result.yields == {"asked_for": COUNT + 2 * WITHOUT_CALL, "kept": 0, reason: COUNT + 2 * WITHOUT_CALL}


@pytest.mark.parametrize("fault", ["needless_call", "value_asked_for"])
def test_a_request_for_no_tool_must_call_none_and_lack_nothing(tmp_path, fault):
    result = taught(tmp_path, FakeTeacher(fault))
    assert all(request.calls for request in result.requests)
    assert result.yields[fault] >= 2 * WITHOUT_CALL - 2


def test_a_request_like_one_held_out_is_refused_and_the_teacher_never_sees_it(tmp_path):
    held_out = [EXAMPLES[0].model_copy(update={"request": EXAMPLE.replace("30", "77")})]
    other = [EXAMPLES[0].model_copy(update={"request": "dim it in the hall down to 30"})]
    received = []
    result = taught(tmp_path, FakeTeacher("example_copied"), examples=other, held_out=held_out, received=received)
    assert [request for request in result.requests if request.calls] == []
    assert "glow at 77" not in json.dumps(received)


def test_without_known_values_the_teacher_chooses_them(tmp_path):
    tools = {
        "find": definition("find", "Finds it.", room_name={"type": "string", "pattern": "^zone"}, level={"type": "integer"})
    }
    right = taught(tmp_path, FakeTeacher(), tools, [])
    assert {call.arguments["room_name"] for request in right.requests for call in request.calls} == {"zone seven"}
    wrong = taught(tmp_path / "wrong", FakeTeacher("bad_arguments"), tools, [])
    assert wrong.yields["wrong_arguments"] == COUNT


def test_names_that_endpoints_do_not_take_are_sent_otherwise(tmp_path):
    tools = {"home.light.set": definition("home.light.set"), "home_light_set": definition("home_light_set")}
    received = []

    class Named(FakeTeacher):
        def _choice(self, request, tools):
            sent = {"home.light.set": tools[0], "home_light_set": tools[1]}
            answer = super()._choice(request, tools)
            for call in answer.get("tool_calls", ()):
                call["function"]["name"] = sent[call["function"]["name"]]["function"]["name"]
            return answer

    result = taught(tmp_path, Named(), tools, [], received=received)
    assert {call.name for request in result.requests for call in request.calls} == set(tools)
    sent = [[tool["function"]["name"] for tool in body["tools"]] for body in received if "tools" in body]
    assert sent
    assert all(len(set(names)) == 2 and all("." not in name for name in names) for names in sent)


def test_a_second_run_needs_no_endpoint_and_makes_the_same(tmp_path):
    with fake_endpoint(Behaviour(message=FakeTeacher().message)) as endpoint:
        first = taught_requests(config(endpoint), TOOLS, EXAMPLES, tmp_path)
    again = taught_requests(config(endpoint, concurrency=1, key_env="NOT_SET_AT_ALL"), TOOLS, EXAMPLES, tmp_path)
    assert again == first


def test_the_result_does_not_depend_on_the_order_of_the_answers(tmp_path):
    first = taught(tmp_path / "one", FakeTeacher())
    with fake_endpoint(Behaviour(message=FakeTeacher().message)) as endpoint:
        assert taught_requests(config(endpoint, concurrency=1), TOOLS, EXAMPLES, tmp_path / "two") == first


def test_a_run_that_was_cut_off_pays_for_the_rest_only(tmp_path, monkeypatch):
    monkeypatch.setattr(asking, "MAX_RETRIES", 0)
    received = []
    with fake_endpoint(Behaviour(message=FakeTeacher().message, error_at=range(3, 4)), received) as endpoint:
        with pytest.raises(DataError, match=r"HTTP 500: planted.*what it has answered is kept"):
            taught_requests(config(endpoint, concurrency=1), TOOLS, EXAMPLES, tmp_path)
        taught_requests(config(endpoint, concurrency=1), TOOLS, EXAMPLES, tmp_path)
    bodies = [json.dumps(body) for body in received]
    assert len(bodies) == len(set(bodies)) + 1  # the one that failed was asked again, no other


def test_a_file_of_the_cache_that_is_not_whole_is_asked_for_again(tmp_path):
    with fake_endpoint(Behaviour(message=FakeTeacher().message)) as endpoint:
        first = taught_requests(config(endpoint), TOOLS, EXAMPLES, tmp_path)
        files = sorted(tmp_path.rglob("*.json"))
        files[0].write_text(files[0].read_text()[:40])
        assert taught_requests(config(endpoint), TOOLS, EXAMPLES, tmp_path) == first


@pytest.mark.parametrize("status", [429, 500, 503])
def test_an_endpoint_that_is_busy_is_asked_again(tmp_path, status):
    result = taught(tmp_path, FakeTeacher(), error_at=(1, 2), error_status=status)
    assert result.yields == taught(tmp_path / "plain", FakeTeacher()).yields


@pytest.mark.parametrize("field", ["response_format", "seed", "temperature", "max_tokens"])
def test_a_parameter_that_the_endpoint_does_not_take_is_left_out(tmp_path, field):
    result = taught(tmp_path, FakeTeacher(), refuses=(field,))
    assert result.yields == taught(tmp_path / "plain", FakeTeacher()).yields


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (401, r"refuses the key \(HTTP 401: planted\); name the key's variable in dataset.teacher.key_env"),
        (404, r"is not there \(HTTP 404: planted\); correct dataset.teacher.model or base_url"),
        (429, r"takes no more requests .*; lower dataset.teacher.concurrency"),
        (400, r"refuses a question \(HTTP 400: planted\)"),
        (500, r"fails \(HTTP 500: planted\); run the same command again"),
    ],
)
def test_an_endpoint_that_refuses_is_one_clear_line(tmp_path, monkeypatch, status, told):
    monkeypatch.setattr(asking, "MAX_RETRIES", 0)
    with pytest.raises(DataError, match=told) as caught:
        taught(tmp_path, FakeTeacher(), error_at=ALL, error_status=status)
    assert "dataset.teacher fake at http://127.0.0.1" in caught.value.problem
    assert "\n" not in str(caught.value)


def test_tools_that_the_endpoint_does_not_take_are_named(tmp_path):
    with pytest.raises(DataError, match=r"unknown field tools.*takes `tools`"):
        taught(tmp_path, FakeTeacher(), refuses=("tools",))


def test_nothing_at_the_address_is_one_clear_line(tmp_path, monkeypatch):
    monkeypatch.setattr(asking, "MAX_RETRIES", 0)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(DataError, match=r"does not answer .*; check dataset.teacher.base_url"):
        taught_requests(config(base_url=f"http://127.0.0.1:{port}/v1"), TOOLS, EXAMPLES, tmp_path)
    with pytest.raises(DataError, match=r"does not answer|is no address"):
        taught_requests(config(base_url="no address"), TOOLS, EXAMPLES, tmp_path)


def test_another_service_at_the_address_is_one_clear_line(tmp_path):
    with (
        fake_endpoint(Behaviour(message=lambda _body: [])) as endpoint,
        pytest.raises(DataError, match="does not speak OpenAI's API"),
    ):
        taught_requests(config(endpoint), TOOLS, EXAMPLES, tmp_path)


def test_a_key_that_is_not_set_is_one_clear_line(tmp_path, monkeypatch):
    monkeypatch.delenv("TEACHER_KEY", raising=False)
    with pytest.raises(DataError, match="TEACHER_KEY, which is not set; export TEACHER_KEY=KEY"):
        taught_requests(config(base_url="http://127.0.0.1:9/v1", key_env="TEACHER_KEY"), TOOLS, EXAMPLES, tmp_path)


def test_a_cache_that_cannot_be_written_is_one_clear_line(tmp_path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(DataError, match="cannot be kept in"):
        taught(tmp_path, FakeTeacher())


TOOLS_FILE = '''
"""Lamps."""


def set_light(room_name: str, level: int) -> str:
    """Make the lamp of one of the rooms brighter or darker.

    Args:
        room_name: The room, e.g. "kitchen".
        level: Percent.
    """
    return f"{room_name} is at {level}"
'''


def test_what_is_taught_becomes_rows_for_training(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "lamps.py").write_text(TOOLS_FILE)
    lines = [
        {
            "request": f"{words} the {room} to {level}",
            "calls": [{"name": "set_light", "arguments": {"room_name": room, "level": level}}],
        }
        for words, room, level in zip(
            ("take", "i'd like", "put", "may i have", "turn", "how about"), ROOMS, range(20, 80, 10), strict=True
        )
    ]
    (tmp_path / "requests.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    received = []
    with fake_endpoint(Behaviour(message=FakeTeacher().message), received) as endpoint:
        teacher = {"base_url": endpoint.base_url, "model": "fake", "requests_per_tool": COUNT}
        made = DatasetConfig(
            num_templates=0,
            tools=(str(tmp_path / "lamps.py"),),
            requests=(str(tmp_path / "requests.jsonl"),),
            held_out_share=0.4,
            teacher=teacher,
        )
        own = own_requests(made)
    assert own.yields["kept"] > COUNT
    assert list((tmp_path / "cache").rglob("*.json"))
    held_out = [source.example.request for source in own.sources if source.held_out]
    assert held_out
    assert all(request not in json.dumps(received) for request in held_out)
    assert not any(source.held_out for source in own.sources if source.origin == "taught")
    rows = RequestRows(own, 2, 0)
    items = [item for item in rows.item_ids() if item.startswith("taught/")]
    assert len(items) >= COUNT
    assert {row["split"] for item in items for row in rows.rows(item)} <= {"train", "validation"}


def test_the_fingerprint_does_not_depend_on_requests_in_flight(tmp_path):
    (tmp_path / "lamps.py").write_text(TOOLS_FILE)

    def inputs(**teacher):
        given = {"base_url": "http://x/v1", "model": "fake"} | teacher
        return dataset_inputs(DatasetConfig(num_templates=0, tools=(str(tmp_path / "lamps.py"),), teacher=given))

    assert inputs(concurrency=1) == inputs(concurrency=8) != inputs(asked_back=3)


def test_true_and_false_are_both_asked_for_where_an_example_says_one(tmp_path):
    tools = {"power": definition("power", "Switch it.", level={"type": "integer"}, on={"type": "boolean"})}
    call = ExampleCall(name="power", arguments={"level": 5, "on": True})
    received = []
    taught(tmp_path, FakeTeacher(), tools, [ExampleRequest(request="power up number 5", calls=(call,))], received=received)
    told = "".join(body["messages"][-1]["content"] for body in received)
    assert '"on": true' in told
    assert '"on": false' in told
