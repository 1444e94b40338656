"""What the tasks of the dataset stage do, without Ray."""

import json

import pytest

from aria_ray.config.schema import DatasetConfig
from aria_ray.dataset import generate
from aria_ray.dataset.conversations.sources import read_conversations
from aria_ray.dataset.generate import SCHEMA, dataset_items, make_rows
from aria_ray.errors import DataError

KINDS = ("context", "noise")
TALK = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]}


def config(count=3, tools=()):
    return DatasetConfig(num_templates=1, augmentations=count, augmentation_kinds=KINDS, tools=tools)


class WrongRequests:
    """A fake of what makes the rows of example requests, every one of which is wrong."""

    def rows(self, item_id):
        raise DataError(f"{item_id} is wrong", "correct it")


def with_conversations(config):
    return dataset_items(config, conversations=read_conversations(config).rows)


def made(item, count=3, tools=()):
    return make_rows(item, config(count, tools))


def test_items_are_conversations_then_templates_by_id(tmp_path):
    path = tmp_path / "talks.jsonl"
    path.write_text(json.dumps(TALK) + "\n" + json.dumps(TALK).replace("Hi", "Hey") + "\n")
    items = with_conversations(DatasetConfig(num_templates=40, sources=(str(path),)))
    ids = [item["template_id"] for item in items]
    assert ids[:2] == ["", ""]
    assert ids[2:] == sorted(set(ids[2:]))
    assert len(ids) == 42
    assert [json.loads(item["row"])["id"] for item in items[:2]] == ["own/1-talks/000001", "own/1-talks/000002"]
    assert all(item["row"] == "" for item in items[2:])


def test_items_depend_on_the_seed():
    first, again, other = (dataset_items(DatasetConfig(num_templates=40, seed=seed)) for seed in (0, 0, 1))
    assert first == again != other


def test_the_same_sentence_twice_is_refused(monkeypatch, row_maker):
    chosen = [row_maker.library.template(template_id) for template_id in ("divide/1/plain", "divide/1/plain")]
    monkeypatch.setattr(generate, "choose_templates", lambda *_: chosen)
    with pytest.raises(DataError, match=r"divide/1/plain and divide/1/plain are the same sentence: 'What is \{\} div"):
        dataset_items(DatasetConfig(num_templates=2))


@pytest.mark.vllm
def test_rows_of_a_template_are_in_order_with_json_columns():
    rows = made({"template_id": "divide/1/plain", "row": "", "request": ""}, count=5)
    ids = [row["id"] for row in rows]
    assert ids == sorted(ids)
    assert {row["augmentation"] for row in rows} == {"none", *KINDS}
    for row in rows:
        assert set(row) == {*SCHEMA.names, "facts"}
        assert json.loads(row["messages"])[0]["role"] == "user"
        assert json.loads(row["tools"])[0]["type"] == "function"
        assert json.loads(row["facts"])["id"] == row["id"]
        assert json.loads(row["facts"])["problems"] == []


@pytest.mark.vllm
def test_rows_do_not_depend_on_what_was_made_before():
    item = {"template_id": "book_flight/1/hi", "row": "", "request": ""}
    first = made(item)
    made({"template_id": "divide/1/plain", "row": "", "request": ""})
    assert made(item) == first


@pytest.mark.vllm
def test_a_conversation_is_one_row(tmp_path):
    path = tmp_path / "talks.jsonl"
    path.write_text(json.dumps(TALK) + "\n")
    item = with_conversations(DatasetConfig(num_templates=20, sources=(str(path),)))[0]
    (row,) = made(item, count=7)
    assert row["id"] == "own/1-talks/000001"
    assert json.loads(row["facts"])["problems"] == []


@pytest.mark.vllm
def test_problems_travel_with_the_row():
    (row,) = made({"template_id": "divide/1/plain", "row": "", "request": ""}, count=1)
    broken = {**row, "messages": json.loads(row["messages"]), "tools": json.loads(row["tools"])}
    broken.pop("facts")
    broken["messages"][-1]["content"] = "No."
    (again,) = made({"template_id": "", "row": json.dumps(broken)})
    (problem,) = json.loads(again["facts"])["problems"]
    assert problem.startswith("the answer 'No.' lacks ")


@pytest.mark.vllm
def test_a_line_is_the_row_with_its_columns_unpacked():
    (row,) = made({"template_id": "divide/1/plain", "row": "", "request": ""}, count=1)
    line = generate.line_of(row)
    assert line.endswith("}\n")
    parsed = json.loads(line)
    assert list(parsed) == SCHEMA.names
    assert parsed["messages"] == json.loads(row["messages"])
    assert parsed["answer_contains"] == row["answer_contains"]


@pytest.mark.vllm
def test_what_is_wrong_with_the_input_comes_back_as_a_row():
    row, *_ = generate._make_rows_or_error({"template_id": "divide/1/plain", "row": "", "request": ""}, config(), None)
    assert row["error"] is None
    (error,) = generate._make_rows_or_error({"template_id": "", "row": "", "request": "request/1"}, config(), WrongRequests())
    assert set(error) == {*SCHEMA.names, "facts", "error"}
    assert json.loads(error["error"]) == {"problem": "request/1 is wrong", "fix": "correct it"}


def test_files_of_one_name_are_told_apart(tmp_path):
    paths = [tmp_path / name / "talks.jsonl" for name in ("a", "b")]
    for path, said in zip(paths, ("Hi", "Hey"), strict=True):
        path.parent.mkdir()
        path.write_text(json.dumps(TALK).replace("Hi", said) + "\n")
    items = with_conversations(DatasetConfig(num_templates=20, sources=tuple(map(str, paths))))
    assert [json.loads(item["row"])["id"] for item in items[:2]] == ["own/1-talks/000001", "own/2-talks/000001"]
