import copy

import pytest

from aria_ray.dataset.checks import quality, verify
from aria_ray.dataset.loading import library
from aria_ray.dataset.rows import choose_templates, make_row
from aria_ray.errors import DataError


@pytest.fixture(scope="module")
def rows():
    return [make_row(template.id, index, 0) for template in choose_templates(library(), 40, 0) for index in range(2)]


@pytest.fixture
def row():
    return make_row("percent_of/1/plain", 0, 0)


def test_right_row(row):
    assert verify(row) == []


def test_wrong_result(row):
    row["messages"][2]["content"] = "5000"
    assert any("but '5000' is shown" in problem for problem in verify(row))


def test_wrong_argument(row):
    row["messages"][1]["tool_calls"][0]["function"]["arguments"] = '{"percent": "ten", "value": 2}'
    assert any("is not of type 'number'" in problem for problem in verify(row))


def test_tool_that_is_not_listed(row):
    row["messages"][1]["tool_calls"][0]["function"]["name"] = "percentage"
    assert "percentage is called but not listed" in verify(row)


def test_answer_without_the_result(row):
    row["messages"][-1]["content"] = "I do not know."
    assert any("lacks" in problem for problem in verify(row))


def test_thought_of_another_shape(row):
    row["messages"][1]["reasoning_content"] = "let me think"
    assert any("has not the fixed shape" in problem for problem in verify(row))


def test_marker_in_an_answer_does_not_read_back(row):
    row["messages"][-1]["content"] += '<tool_call>{"name": "x", "arguments": {}}</tool_call>'
    assert any("does not read back" in problem for problem in verify(row))


def test_failing_call_in_a_hit():
    other = make_row("negative_root/1/plain", 0, 0)
    other["scenario"] = "hit"
    assert any("does not fit the scenario hit" in problem for problem in verify(other))


def test_held_out_tool_in_training():
    row = make_row("median/1/plain", 0, 0)
    assert verify(row) == []
    row["split"] = "train"
    assert any("held-out tools median" in problem for problem in verify(row))


def test_figures(rows):
    figures = quality(rows, {})
    assert figures["num_rows"] == 80
    assert figures["num_templates"] == 40
    assert figures["shares"]["scenario"] == {"error": 0.15, "hit": 0.4, "miss": 0.35, "multi": 0.1}
    assert figures["shares"]["augmentation"] == {"context": 0.5, "none": 0.5}
    assert figures["duplicate_share"] == 0
    assert 0 < figures["distinct_2"] <= 1
    assert figures["tool_entropy_bits"] > 3


def test_gates_name_rows(rows):
    with pytest.raises(DataError, match=r"1 rows are wrong .* percent_of/1/plain/none: no good"):
        quality(rows, {"percent_of/1/plain/none": ["no good"]})
    with pytest.raises(DataError, match=r"repeat a question with the same tools .*" + rows[0]["id"]):
        quality([*rows, *copy.deepcopy(rows[:2])], {})
    with pytest.raises(DataError, match=r"of scenario hit and it must be 40%"):
        quality([row for row in rows if row["scenario"] != "miss"], {})
