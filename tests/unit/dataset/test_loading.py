from pathlib import Path

import pytest

from aria_ray.dataset import loading
from aria_ray.dataset.loading import library, load_templates, read_library, templates_digest
from aria_ray.dataset.templates import CATEGORIES
from aria_ray.errors import DataError
from aria_ray.tools import TOOLS

INTENT = """\
intents:
  - name: halve
    scenario: hit
    ask: division
    slots: {a: {integer: [2, 90]}}
    steps: [[{tool: divide, arguments: {a: "{a}", b: 2}}]]
    answer: "Half of it is {result}."
    phrasings:
      - Halve {a}.
      - What is half of {a}?
"""
FRAMES = 'frames: {plain: "{q}"}\ncontexts: [Fine.]\nfillers: ["so,"]\nwords: {short: [cat, dog]}\n'


def write(folder: Path, math: str = INTENT, frames: str = FRAMES) -> Path:
    (folder / "frames.yaml").write_text(frames)
    for category in CATEGORIES:
        (folder / category).mkdir(exist_ok=True)
        (folder / category / "calls.yaml").write_text(math if category == "math" else "intents: []\n")
    return folder


def test_own_folder_loads(tmp_path):
    loaded = load_templates(write(tmp_path))
    assert [template.id for template in loaded.families()] == ["halve/1/plain", "halve/2/plain"]
    assert loaded.template("halve/2/plain").phrasing == "What is half of {a}?"
    assert set(loaded.tools) == set(TOOLS)


@pytest.mark.parametrize(
    ("old", "new", "line", "rule"),
    [
        ("tool: divide", "tool: halve", 6, "unknown tool 'halve'"),
        ("Halve {a}.", "Halve {x}.", 9, "unknown slot {x}"),
        ("is {result}.", "is {result2}.", 7, "unknown slot {result2}"),
        ("b: 2}", 'b: "two"}', 6, "arguments do not fit divide: b: "),
        (", b: 2}", "}", 6, "arguments do not fit divide: b: Field required"),
        ("What is half of {a}?", "halve {A}.".replace("A", "a"), 10, "is a duplicate of math/calls.yaml:9"),
        ("scenario: hit", "scenario: multi", 2, "1 calls do not fit the scenario multi"),
        ("scenario: hit", "scenario: guess", 3, "Input should be 'hit', 'miss', 'error' or 'multi'"),
        ("{integer: [2, 90]}", "{word_of: b}", 5, "unknown word list or slot 'b'"),
        ("{integer: [2, 90]}", "{integer: [2, 90], words: short}", 5, "a slot must have exactly one of"),
        ("ask: division", "aks: division", 2, "ask: Field required"),
        ("Halve {a}.", "Halve {a.", 9, "expected '}'"),
    ],
)
def test_errors_name_file_line_and_rule(tmp_path, old, new, line, rule):
    assert old in INTENT
    with pytest.raises(DataError) as caught:
        load_templates(write(tmp_path, math=INTENT.replace(old, new, 1)))
    assert f"math/calls.yaml:{line}: " in str(caught.value)
    assert rule in str(caught.value)


def test_duplicate_intent(tmp_path):
    again = INTENT + INTENT.removeprefix("intents:\n")
    with pytest.raises(DataError, match=r"math/calls.yaml:11: intent 'halve' is a duplicate of math/calls.yaml:2"):
        load_templates(write(tmp_path, math=again))


def test_frame_without_question(tmp_path):
    with pytest.raises(DataError, match=r"frames.yaml:1: .* must have \{q\} once"):
        load_templates(write(tmp_path, frames=FRAMES.replace("{q}", "q")))


def test_missing_and_broken_files(tmp_path):
    with pytest.raises(DataError, match=r"frames.yaml is missing"):
        load_templates(tmp_path)
    with pytest.raises(DataError, match=r"math/calls.yaml is not YAML"):
        load_templates(write(tmp_path, math="intents: ["))


def test_shipped_templates_are_sentences():
    for _, intent in library().intents:
        for phrasing in intent.phrasings:
            assert phrasing.endswith((".", "?", "!")), phrasing
            assert not {"<", ">"} & set(phrasing)


def test_a_category_without_its_folder_is_refused(tmp_path):
    (write(tmp_path) / "reasoning" / "calls.yaml").unlink()
    (tmp_path / "reasoning").rmdir()
    with pytest.raises(DataError, match=r"template folder .*reasoning is missing"):
        load_templates(tmp_path)


def test_a_catalogue_without_its_actions_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"actions.yaml is missing"):
        load_templates(write(tmp_path), tmp_path)


def test_without_tools_of_the_user_there_is_one_library():
    assert read_library() is read_library(()) is library()


SOME_TOOLS = tuple(
    [
        "percent_of",
        "divide",
        "multiply",
        "count_words",
        "reverse_text",
        "change_case",
        "weekday",
        "highest",
        "end_time",
        "days_between",
        "convert_units",
        "convert_currency",
    ]
)


def test_a_library_of_fewer_tools_needs_no_other():
    some = set(SOME_TOOLS)
    fewer = read_library(builtin_tools=tuple(some), catalogue=False)
    seen = {name for name, tool in fewer.tools.items() if not tool.is_unseen}
    assert seen == some
    assert {name for name, tool in fewer.tools.items() if tool.is_unseen} == {
        name for name, tool in library().tools.items() if tool.is_unseen
    }
    kept = {intent.name for _, intent in fewer.intents if not intent.is_unseen}
    assert kept == {
        intent.name
        for _, intent in library().intents
        if not intent.domain and not intent.is_unseen and set(intent.needed_tools) <= some
    }
    assert {"percent_of", "percent_meaning", "divide_by_zero"} <= kept
    assert "square_root" not in kept


def test_without_the_catalogue_every_built_in_tool_stays():
    names = {name for name, tool in read_library(catalogue=False).tools.items() if not tool.domain}
    assert names == set(TOOLS)


def test_a_built_in_tool_that_is_not_there_is_refused():
    with pytest.raises(DataError, match=r"dataset.builtin_tools: there is no tool 'percent'; among the 57 are percent_of, "):
        read_library(builtin_tools=(*SOME_TOOLS, "percent"))


@pytest.mark.parametrize("names", [("divide",), ("median",), (*SOME_TOOLS[1:], "median")])
def test_too_few_built_in_tools_are_refused(names):
    with pytest.raises(DataError, match=r"builtin_tools names \d+ tools to train on, it must be at least 12"):
        read_library(builtin_tools=names)


def test_the_digest_changes_with_any_file(tmp_path, monkeypatch):
    ours = templates_digest()
    assert len(ours) == 16
    (tmp_path / "domain.yaml").write_text("a: 1\n")
    monkeypatch.setattr(loading, "CATALOGUE", tmp_path)
    other = templates_digest()
    (tmp_path / "domain.yaml").write_text("a: 2\n")
    assert len({ours, other, templates_digest()}) == 3
