import json

import pytest
import yaml
from jsonschema import Draft202012Validator

from aria_ray.dataset.catalogue import Parameter
from aria_ray.dataset.loading import ACTIONS, CATALOGUE, load_templates
from aria_ray.dataset.templates import CATEGORIES, fields_of, result_names
from aria_ray.errors import DataError

DOMAIN = """\
domain: tests
entities:
  - name: test_drive
    article: a
    plural: test drives
    verb: plan
    participle: planned
    prefix: TD
    key: driver
    states: [open, done]
    parameters:
      driver: {description: Who drives, say: "for {driver}", ask: "Who drives?", value: {words: people}}
      day: {description: Which day, say: "on {day}", ask: "Which day?", value: {date: [2026-01-01, 2026-12-31]}}
      laps: {description: How many, say: "with {laps} laps", optional: true, value: {integer: [2, 9]}}
      car:
        description: Which car
        say: "in a {car_color} car"
        optional: true
        properties:
          color: {description: Its color, value: {choice: [red, blue]}}
"""
FRAMES = 'frames: {plain: "{q}"}\ncontexts: [Fine.]\nfillers: ["so,"]\nwords: {people: [Ana, Tom, Lee]}\n'


def load(folder, domain=DOMAIN, change=("", "")):
    """The library of a folder whose catalogue is one domain, with the actions that come with the package."""
    templates, catalogue = folder / "templates", folder / "catalogue"
    for category in CATEGORIES:
        (templates / category).mkdir(parents=True)
        (templates / category / "calls.yaml").write_text("intents: []\n")
    (templates / "frames.yaml").write_text(FRAMES)
    catalogue.mkdir()
    (catalogue / "tests.yaml").write_text(domain)
    actions = CATALOGUE.joinpath(ACTIONS).read_text(encoding="utf-8")
    assert change[0] in actions
    (catalogue / ACTIONS).write_text(actions.replace(*change, 1))
    return load_templates(templates, catalogue)


@pytest.fixture(scope="module")
def simulated(row_maker):
    return {name: tool for name, tool in row_maker.library.tools.items() if tool.backend is not None}


@pytest.fixture(scope="module")
def schemas(simulated):
    return [tool.definition["function"]["parameters"] for tool in simulated.values()]


def test_at_least_300_tools_over_20_domains(simulated):
    assert len(simulated) >= 300
    assert len({tool.domain for tool in simulated.values()}) >= 20


def test_every_tool_is_called_by_some_intent(row_maker):
    called = {name for _, intent in row_maker.library.intents for name in intent.tools}
    assert set(row_maker.library.tools) == called


def test_every_definition_is_a_schema_with_descriptions(simulated):
    for name, tool in simulated.items():
        function = tool.definition["function"]
        Draft202012Validator.check_schema(function["parameters"])
        assert function["name"] == name
        assert function["description"]
        assert all(field["description"] for field in function["parameters"]["properties"].values()), name


def test_parameters_of_all_shapes_occur(schemas):
    fields = [field for schema in schemas for field in schema["properties"].values()]
    assert sum(set(schema["properties"]) > set(schema["required"]) for schema in schemas) > 100
    assert sum("enum" in field for field in fields) > 50
    assert sum(field["type"] == "array" for field in fields) > 20
    assert sum(field["type"] == "object" for field in fields) > 20
    assert {field["type"] for field in fields} == {"string", "integer", "number", "array", "object"}


def test_optional_parameters_are_given_and_left_out(row_maker):
    given = {"optional": set(), "required": set()}
    for _, intent in row_maker.library.intents:
        for call in (call for calls in intent.steps for call in calls):
            tool = row_maker.library.tools[call.tool]
            if tool.backend is not None:
                required = set(tool.definition["function"]["parameters"]["required"])
                given["optional" if set(call.arguments) > required else "required"].add(call.tool)
    assert len(given["optional"] & given["required"]) > 80


def test_every_domain_has_requests_of_every_outcome(row_maker, simulated):
    outcomes = {}
    for _, intent in row_maker.library.intents:
        if intent.domain:
            outcomes.setdefault(intent.domain, set()).add(intent.error or intent.scenario)
    assert set(outcomes) == {tool.domain for tool in simulated.values()}
    assert all(of_entity == {"hit", "multi", "failed", "missing", "unavailable"} for of_entity in outcomes.values())


def test_errors_are_of_their_category(row_maker):
    for category, intent in row_maker.library.intents:
        if intent.domain:
            assert category == ("tool_errors" if intent.scenario == "error" else "reasoning")


def test_sentences_are_filled(row_maker):
    for _, intent in row_maker.library.intents:
        for phrasing in intent.phrasings:
            assert set(fields_of(phrasing)) <= intent.slot_names, phrasing
        assert set(fields_of(intent.answer)) <= intent.slot_names | result_names(intent.num_calls), intent.name
        assert not {"{", "}"} & set(f"{intent.ask}{intent.reason}"), intent.name


def test_sentences_say_every_argument(row_maker):
    for _, intent in row_maker.library.intents:
        if intent.domain and intent.scenario == "hit":
            arguments = json.dumps([call.arguments for calls in intent.steps for call in calls])
            slots = {name for name in intent.slots if f'"{{{name}}}"' in arguments}
            for phrasing in intent.phrasings:
                assert slots == set(fields_of(phrasing)), f"{intent.name}: {phrasing}"


def test_sentences_begin_with_a_capital(row_maker):
    for _, intent in row_maker.library.intents:
        if intent.domain:
            assert all(phrasing[0].isupper() or phrasing[0] == "{" for phrasing in intent.phrasings), intent.name


def test_an_entity_and_its_actions_make_tools_and_intents(tmp_path):
    library = load(tmp_path)
    schemas = {name: tool.definition["function"]["parameters"] for name, tool in library.tools.items() if tool.domain}
    assert set(schemas) == {
        "plan_test_drive",
        "search_test_drives",
        "check_test_drive",
        "cancel_test_drive",
        "change_test_drive",
        "find_test_drive",
        "list_test_drives",
    }
    plan = schemas["plan_test_drive"]
    assert plan["required"] == ["driver", "day"]
    assert plan["properties"]["car"] == {
        "type": "object",
        "properties": {"color": {"type": "string", "enum": ["red", "blue"], "description": "Its color"}},
        "required": ["color"],
        "description": "Which car",
    }
    assert list(schemas["change_test_drive"]["properties"]) == ["test_drive_id", "laps", "car"]
    assert schemas["list_test_drives"]["properties"]["state"]["enum"] == ["open", "done"]
    intents = {intent.name: intent for _, intent in library.intents}
    said = {
        "plan_test_drive": "for {driver} on {day}",
        "plan_test_drive_more": "for {driver} on {day} with {laps} laps in a {car_color} car",
        "no_plan_test_drive": "for {driver} on {day}",
        "plan_test_drive_twice": "for {other_driver} on {other_day}",
        "change_test_drive_car": "in a {car_color} car",
        "find_test_drive": "for {driver}",
    }
    for name, clauses in said.items():
        assert all(clauses in phrasing.lower() for phrasing in intents[name].phrasings), name
    assert all(fields_of(phrasing) == ["day"] for phrasing in intents["plan_test_drive_without_driver"].phrasings)
    assert intents["plan_test_drive_without_driver"].answer == "Who drives?"
    assert intents["no_plan_test_drive"].without == ("plan_test_drive",)


@pytest.mark.parametrize(
    ("old", "new", "line", "rule"),
    [
        ("key: driver", "key: car_park", 3, "`key` 'car_park' must be one of the parameters driver, day, laps, car"),
        ("prefix: TD", "prefix: drive", 8, "String should match pattern"),
        ("article: a", "article: the", 4, "Input should be 'a' or 'an'"),
        ("verb: plan", "werb: plan", 3, "verb: Field required"),
        ("states: [open, done]", "states: [open]", 10, "at least 2 items"),
        ('ask: "Which day?"', 'ask: "Say the day."', 13, "String should match pattern"),
        (', ask: "Which day?"', "", 13, "`ask` must be given exactly where the parameter is not optional"),
        (', ask: "Which day?"', ", optional: true", 3, "at least two required parameters"),
        ("value: {words: people}", "value: {words: animals}", 3, "unknown word list or slot 'animals'"),
        ('say: "on {day}"', 'say: "on {date}"', 3, "unknown slot {date}"),
        ('say: "on {day}"', 'say: "on {day"', 3, "expected '}'"),
        ("value: {integer: [2, 9]}", "value: {integer: [2, 9], words: people}", 14, "exactly one of"),
        ("value: {integer: [2, 9]}", "properties: {}, value: {integer: [2, 9]}", 14, "exactly one of `value` and `properties`"),
        ("domain: tests", "domain: Tests", 1, "String should match pattern"),
    ],
)
def test_errors_name_file_line_and_rule(tmp_path, old, new, line, rule):
    assert old in DOMAIN
    with pytest.raises(DataError) as caught:
        load(tmp_path, DOMAIN.replace(old, new, 1))
    assert f"catalogue/tests.yaml:{line}: " in str(caught.value)
    assert rule in str(caught.value)


def test_two_entities_of_one_name_are_refused(tmp_path):
    again = DOMAIN + DOMAIN.split("entities:\n")[1]
    with pytest.raises(DataError, match=r"catalogue/tests.yaml:21: tool 'plan_test_drive' is there already"):
        load(tmp_path, again)


def test_a_sentence_of_an_action_with_an_unknown_word_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"catalogue/tests.yaml:3: unknown slot \{nown\}"):
        load(tmp_path, change=('"Cancel {noun} {id}."', '"Cancel {nown} {id}."'))


def test_an_unknown_action_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"catalogue/actions.yaml:\d+: actions.book"):
        load(tmp_path, change=("  create:", "  book:"))


def test_a_parameter_has_a_value_or_properties():
    with pytest.raises(ValueError, match="exactly one of `value` and `properties`"):
        Parameter(description="x", say="x", ask="x?")


def test_tools_know_the_states_of_their_entity(simulated):
    folder = [item for item in CATALOGUE.iterdir() if item.name.endswith(".yaml") and item.name != ACTIONS]
    states = {
        entity["name"]: entity["states"]
        for item in folder
        for entity in yaml.safe_load(item.read_text(encoding="utf-8"))["entities"]
    }
    for name, said in states.items():
        assert simulated[f"check_{name}"].backend.states == tuple(said)


@pytest.mark.parametrize(
    ("start", "outcomes"),
    [("Can you ", {None, "missing", "unavailable"}), ("Show me ", {None, "unavailable"}), ("Get rid of ", {None, "failed"})],
)
def test_no_way_of_asking_gives_the_outcome_away(row_maker, start, outcomes):
    sentences = {
        intent.error
        for _, intent in row_maker.library.intents
        if intent.domain and any(phrasing.startswith(start) for phrasing in intent.phrasings)
    }
    assert sentences >= outcomes


def test_dealing_loses_no_sentence(row_maker):
    texts = yaml.safe_load(CATALOGUE.joinpath(ACTIONS).read_text(encoding="utf-8"))["actions"]["create"]
    wanted = sum(len(texts[kind]) for kind in ("hit", "missing", "unavailable"))
    for name in ("flight", "vet_visit"):
        intents = {intent.name: intent for _, intent in row_maker.library.intents if intent.name.endswith(name)}
        verb = "book" if name == "flight" else "schedule"
        assert len(intents[f"{verb}_{name}"].phrasings) == len(texts["hit"])
        assert len(intents[f"no_{verb}_{name}"].phrasings) == len(texts["unavailable"])
        missing = next(i for _, i in row_maker.library.intents if i.name.startswith(f"{verb}_{name}_without_"))
        shared = [intents[f"{verb}_{name}"], intents[f"no_{verb}_{name}"], missing]
        assert len({phrasing for intent in shared for phrasing in intent.phrasings}) == wanted
