"""What README, docs/ and examples/ say of commands, settings, paths, modules and imports is so."""

import ast
import json
import re
import shlex
from pathlib import Path

import pytest
import typer
from fake_endpoint import CALL, Behaviour, fake_endpoint
from pages import code_blocks, inline_code
from typer.testing import CliRunner

from aria_ray.cli import app
from aria_ray.config import RunConfig, load_config
from aria_ray.tools import schema_problem

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path for pattern in ("README.md", "CONTRIBUTING.md", "docs/*.md", "examples/**/*.md") for path in ROOT.glob(pattern)
)
COMMANDS = typer.main.get_command(app)
TAKES_A_RECIPE = {"run", "generate", "train", "serve", "validate", "report", "plan", "doctor", "config"}
FOLDERS = {path.name for path in ROOT.iterdir() if path.is_dir() and path.name not in (".git", ".venv")}
RUN_FOLDERS = {"dataset", "training", "validation"}
"""Folders of a run directory, which are none of the repository."""
SETTING = re.compile(rf"(?:{'|'.join(RunConfig.model_fields)})\.[a-z_]+(?:\.[a-z_]+)*(?==|$)")

TEXTS = [
    node.value
    for path in (ROOT / "aria_ray").rglob("*.py")
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    if isinstance(node, ast.Constant) and isinstance(node.value, str)
]
"""Every text in the package; one with values in it is as many texts as there are between them."""


def command_lines(page):
    """Each `aria` command line of a page, as its words: whole ones in code blocks, and those in backticks."""
    lines = [line for block in code_blocks(page) for line in block.replace("\\\n", " ").splitlines()]
    for line in [*lines, *(code for code in inline_code(page) if "[" not in code.split("'")[0])]:
        found = re.search(r"(?:^|\s)(?:\.venv/bin/)?(?:aria|python -m aria_ray)\s+([a-z].*)", line)
        if found:
            yield shlex.split(found.group(1).split(" > ")[0], comments=True)


def each(kind):
    """A parameter for every thing of a kind on every page."""
    return [pytest.param(found, id=f"{page.name}: {found}") for page in PAGES for found in dict.fromkeys(kind(page))]


def paths(page):
    """What stands in backticks and looks like a path of the repository."""
    for code in inline_code(page):
        first = code.split("/")[0]
        if "/" in code and first in FOLDERS - RUN_FOLDERS and re.fullmatch(r"[\w./-]+", code) and "_build" not in code:
            yield code


def settings(page):
    """What stands in backticks and looks like a setting of a recipe."""
    for code in inline_code(page):
        if SETTING.match(code):
            yield SETTING.match(code).group()


@pytest.mark.parametrize("words", [pytest.param(words, id=" ".join(words)) for page in PAGES for words in command_lines(page)])
def test_command_lines_parse(words):
    name, rest = words[0], words[1:]
    assert name in COMMANDS.commands, f"aria has no command {name}"
    context = COMMANDS.commands[name].make_context(name, list(rest), resilient_parsing=False)
    if name in TAKES_A_RECIPE:
        given = list(context.params["arguments"] or ())
        recipe = given.pop(0) if given and "=" not in given[0] else "laptop"
        if not (recipe.endswith(".yaml") or recipe.isupper()):  # a file of the reader's, or a word for any recipe
            load_config(recipe, [each.replace("=N", "=1").replace("=PORT", "=8001") for each in given])


def test_the_pages_have_command_lines():
    assert len({words[0] for page in PAGES for words in command_lines(page)}) >= 10


@pytest.mark.parametrize("path", each(paths))
def test_paths_exist(path):
    assert (ROOT / path).exists()


@pytest.mark.parametrize("name", each(settings))
def test_settings_exist(name):
    fields = RunConfig.model_fields
    for part in name.split("."):
        assert part in fields, f"{name} is no setting"
        fields = getattr(fields[part].annotation, "model_fields", {})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_make_targets_exist(page):
    targets = re.findall(r"^([\w./]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    lines = [line for block in code_blocks(page) for line in block.splitlines()] + inline_code(page)
    asked = [line.split()[1] for line in lines if re.match(r"make [a-z]", line)]
    assert set(asked) <= set(targets)


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *sorted((ROOT / "examples").rglob("*.md"))], ids=lambda page: str(page.relative_to(ROOT))
)
def test_links_lead_somewhere(page):
    """Those of docs/ are Sphinx's to check (`make docs`)."""
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert ":" in target or (page.parent / target).exists(), f"{target} is not there"


def test_the_commands_table_of_the_readme_has_every_command():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in COMMANDS.commands:
        assert f"`aria {name}" in readme, f"README's table has no aria {name}"


@pytest.mark.parametrize("page", ["README.md", "docs/endpoint.md"])
def test_the_client_of_a_page_gets_the_thought_and_the_call(page, capsys):
    call = {"role": "assistant", "reasoning": "a percentage", "tool_calls": [{"id": "1", "type": "function", "function": CALL}]}
    (client,) = code_blocks(ROOT / page, "python")
    received = []
    with fake_endpoint(Behaviour(message=lambda _body: call), received) as endpoint:
        exec(client.replace("http://127.0.0.1:8000/v1", endpoint.base_url), {})
    (request,) = received
    assert schema_problem(request["tools"][0], json.loads(CALL["arguments"])) is None
    printed = capsys.readouterr().out
    assert "a percentage" in printed
    assert CALL["arguments"] in printed


def test_the_diagram_of_imports_is_that_of_the_architecture_test():
    """LAYERS is read, not imported: two test modules of one name would be two modules."""
    tree = ast.parse((ROOT / "tests/unit/test_architecture.py").read_text(encoding="utf-8"))
    (layers,) = (
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "LAYERS"
    )
    wanted = "\n".join("  ".join(sorted(names)) for names in layers)
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    shown = re.search(r"^<!-- the rows are `LAYERS`[^\n]*\n```\n(.*?)\n```", text, re.MULTILINE | re.DOTALL).group(1)
    assert shown == wanted, f"put these rows into docs/architecture.md:\n{wanted}"


def messages(page):
    """What stands in backticks in the first column of a table, as the pieces between its `...`."""
    rows = re.findall(r"^\| (`[^|]+) \|", page.read_text(encoding="utf-8"), re.MULTILINE)
    for code in re.findall(r"`([^`]+)`", "\n".join(rows)):
        yield from (piece.strip() for piece in code.split("...") if len(piece.strip()) > 5)


@pytest.mark.parametrize("piece", dict.fromkeys(messages(ROOT / "docs" / "troubleshooting.md")))
def test_messages_are_those_of_the_code(piece):
    assert any(piece in text for text in TEXTS), f"no message of aria_ray has {piece!r}"


def plan(*arguments):
    done = CliRunner().invoke(app, ["plan", "mi300x", *arguments, "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.output)


def test_the_figures_of_the_page_on_planning_are_those_of_the_plan():
    page = (ROOT / "docs/planning.md").read_text(encoding="utf-8")
    node, cluster = plan("--load", "1000"), plan("training.num_workers=64", "training.tokens_per_step=131072")
    memory, training = node["training_memory"], node["training"]
    one = {(row["precision"], row["speculation"]): row for row in node["decoding"] if row["streams"] == 1}
    plain = one["bf16", "none"]["bound_tokens_per_s"]
    bf16, fp8 = node["load"]
    saved = next(row for row in node["targets"] if row["name"] == "memory_reduction")["bound"]
    for told in (
        f"LoRA {memory['LoRA']['total_gib']:.0f} GiB",
        f"in mixed precision {memory['full AdamW']['total_gib']:.0f} GiB, both of {memory['LoRA']['capacity_gib']:.0f}",
        f"{node['serving_memory']['bf16']['total_gib']:.0f} GiB in bf16",
        f"takes {training['bound_ms']:.0f} ms at the peak",
        f"bounds it at {plain:.0f} tokens/s, so 310 tokens/s need {310 / plain:.0%}".replace("%", " %"),
        f"**Memory saved.** {100 * saved:.0f} %",
        *(
            f"{run['bound_tokens_per_s']:,.0f} ({run['estimated_tokens_per_s']:,.0f})"
            for run in (training, cluster["training"])
        ),
        f"bound at {bf16['replica_bound_per_s']:.0f} requests/s",
        f"{bf16['replicas_at_bound']} replicas ({bf16['replicas_estimated']}) in bf16",
        f"{fp8['replicas_at_bound']} ({fp8['replicas_estimated']}) in FP8",
    ):
        assert told in page, f"docs/planning.md does not say: {told}"
