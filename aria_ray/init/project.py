"""The files of a project, from the package's own example or from the user's tools."""

import shlex
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from string import Template

import yaml

from aria_ray.config import load_config
from aria_ray.errors import DataError
from aria_ray.init.listing import list_tokens
from aria_ray.init.paths import from_inside
from aria_ray.init.prepared import prepared_requests
from aria_ray.tools.sources import SourcedTool, read_tools

FILES = resources.files("aria_ray.init").joinpath("files")
EXAMPLE_TOOLS, EXAMPLE_REQUESTS, PREPARED_REQUESTS = "my_tools.py", "requests.jsonl", "requests.yaml"
RECIPE, README = "recipe.yaml", "README.md"
TRAINED_AS = "laptop"
"""The shipped recipe whose training a project begins with."""
CONVERSATION_TOKENS = 350
"""Tokens of a conversation beside its list of tools: the longest of 1,582 turns of a set of eight tools had 344."""
ROW_STEP, MAX_ROW_TOKENS = 256, 1792
"""Packed rows get longer in such steps, up to a length that the engine takes with an answer (2,048 tokens)."""


def write_project(folder: Path, sources: Sequence[str] = ()) -> str:
    """Write a project into a new or empty folder, and return what to say of it: its files, and the commands to type next.

    Without `sources` it has tools and requests of its own. `sources` are the user's tools, as in `dataset.tools`, seen from the
    working directory; the recipe names them as seen from the folder.

    Raises:
        DataError: the folder has files already or cannot be written, or the tools cannot be read. Nothing is written then.
    """
    files = _from_tools(folder, sources) if _is_free(folder) and sources else _example()
    written: list[Path] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            with (folder / name).open("x", encoding="utf-8") as file:
                written.append(folder / name)
                file.write(text)
    except OSError as error:
        for path in written:
            path.unlink(missing_ok=True)
        raise DataError(f"{folder} cannot be written ({error.strerror})", "give another folder") from None
    return f"{folder} has {', '.join(files)}.\nNext:\n  cd {shlex.quote(str(folder))}\n{_commands(files[README])}"


def _is_free(folder: Path) -> bool:
    """Whether a folder is new or empty. Raises DataError if not."""
    try:
        is_folder = folder.is_dir()
        if (is_folder and not any(folder.iterdir())) or not (folder.exists() or folder.is_symlink()):
            return True
    except OSError as error:
        raise DataError(f"{folder} cannot be read ({error.strerror})", "give another folder") from None
    held = "has files already" if is_folder else "is a file"
    raise DataError(f"{folder} {held} and nothing is overwritten", "give a new or an empty folder")


def _commands(readme: str) -> str:
    """The commands of the README, indented."""
    return "\n".join(f"  {line}" for line in readme.split("```")[1].strip().splitlines())


def _example() -> dict[str, str]:
    rows = (
        f"| `{EXAMPLE_TOOLS}` | the tools: typed functions with docstrings |",
        f"| `{EXAMPLE_REQUESTS}` | example requests, six for each tool, and some that no tool is for |",
    )
    return {
        EXAMPLE_TOOLS: _text(EXAMPLE_TOOLS),
        EXAMPLE_REQUESTS: _text(EXAMPLE_REQUESTS),
        README: _readme([EXAMPLE_TOOLS], EXAMPLE_REQUESTS, rows, are_run=True),
        RECIPE: _recipe([EXAMPLE_TOOLS], EXAMPLE_REQUESTS),
    }


def _from_tools(folder: Path, sources: Sequence[str]) -> dict[str, str]:
    tools = read_tools(sources, "--from")
    named = [from_inside(source, folder) for source in sources]
    rows = (f"| `{PREPARED_REQUESTS}` | example requests, prepared for filling in: what you write there decides most |",)
    return {
        PREPARED_REQUESTS: prepared_requests(tools, named),
        README: _readme(named, PREPARED_REQUESTS, rows, are_run=any(tool.backend is None for tool in tools.values())),
        RECIPE: _recipe(named, PREPARED_REQUESTS, _row_tokens(tools)),
    }


def _row_tokens(tools: Mapping[str, SourcedTool]) -> int:
    """Length of a packed row, in tokens, in which the longest list of tools leaves room for a conversation."""
    needed = list_tokens(tool.definition for tool in tools.values()) + CONVERSATION_TOKENS
    return min(MAX_ROW_TOKENS, -(-needed // ROW_STEP) * ROW_STEP)


def _readme(tools: Sequence[str], requests: str, rows: Sequence[str], *, are_run: bool) -> str:
    given = [shlex.quote(tool) for tool in tools]
    how = "Your functions are really run for it." if are_run else "Your tools are not run for it: their results are made up."
    return Template(_text(README)).substitute(
        check=" ".join([f"aria requests check {requests}", *(f"--tools {tool}" for tool in given)]),
        chat=" ".join(["aria chat", *(f"--tool {tool}" for tool in given)]),
        run=how,
        files="\n".join(rows),
    )


def _recipe(tools: Sequence[str], requests: str, row_tokens: int = 0) -> str:
    """The recipe, trained as `TRAINED_AS` is, with rows of at least `row_tokens`."""
    training = load_config(TRAINED_AS).training
    return Template(_text(RECIPE)).substitute(
        tools=yaml.safe_dump(list(tools), default_flow_style=True, allow_unicode=True, width=10_000).strip(),
        requests=requests,
        num_steps=training.num_steps,
        tokens_per_step=max(training.tokens_per_step, row_tokens),
        max_tokens=max(training.max_tokens, row_tokens),
        learning_rate=training.learning_rate,
        rank=training.lora.rank,
        alpha=f"{training.lora.alpha:g}",
    )


def _text(name: str) -> str:
    return FILES.joinpath(name).read_text(encoding="utf-8")
