"""Reads a recipe and its `section.key=value` overrides into one validated configuration."""

import difflib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from aria_ray.config.schema import RunConfig
from aria_ray.errors import ConfigError

_RECIPES = resources.files("aria_ray.config").joinpath("recipes")


def recipe_names() -> tuple[str, ...]:
    """Names of the recipes shipped with the package, sorted."""
    return tuple(sorted(item.name.removesuffix(".yaml") for item in _RECIPES.iterdir() if item.name.endswith(".yaml")))


def load_config(recipe: str, overrides: Sequence[str] = ()) -> RunConfig:
    """The configuration of a recipe with overrides applied in order. `recipe` is a shipped name or the path of a YAML file.

    Raises:
        ConfigError: no such recipe, not YAML, an override without `=`, or a value that the schema refuses.
    """
    tree = _read_recipe(recipe)
    for override in overrides:
        _apply(tree, override)
    try:
        return RunConfig.model_validate(tree)
    except ValidationError as error:
        problems = "; ".join(map(_problem, error.errors()))
        raise ConfigError(f"recipe '{recipe}': {problems}", "see `aria config --schema` for what each key takes") from None


def _read_recipe(recipe: str) -> dict[str, Any]:
    if recipe in recipe_names():
        text = _RECIPES.joinpath(f"{recipe}.yaml").read_text(encoding="utf-8")
    elif Path(recipe).is_file():
        try:
            text = Path(recipe).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"recipe '{recipe}' must be a readable UTF-8 file ({error})", "give another path") from None
    elif Path(recipe).is_dir():
        raise ConfigError(f"recipe '{recipe}' is a directory and must be a YAML file", "give the path of the file in it")
    else:
        close = difflib.get_close_matches(recipe, recipe_names(), n=1)
        hint = f"did you mean {close[0]}?" if close else "give one of those, or a path to a YAML file"
        raise ConfigError(f"recipe '{recipe}' is neither a file nor one of {', '.join(recipe_names())}", hint)
    try:
        tree = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"recipe '{recipe}' must be YAML: {_yaml_problem(error)}", "correct it there") from None
    if not isinstance(tree, dict):
        raise ConfigError(
            f"recipe '{recipe}' must be a YAML mapping of sections (model, dataset, ...)", "see `aria config` for one"
        )
    return tree


def _apply(tree: dict[str, Any], override: str) -> None:
    dotted, equals, text = override.partition("=")
    if not equals or not all(dotted.split(".")):
        raise ConfigError(f"override '{override}' must look like section.key=value", "write it as in dataset.num_templates=100")
    *parents, leaf = dotted.split(".")
    node = tree
    for parent in parents:
        node = node.setdefault(parent, {})
        if not isinstance(node, dict):
            raise ConfigError(
                f"override '{override}': '{parent}' is a value, not a section", "see `aria config` for the sections"
            )
    try:
        node[leaf] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(
            f"override '{override}': the value must be YAML: {_yaml_problem(error)}", "put quotes around it"
        ) from None


def _yaml_problem(error: yaml.YAMLError) -> str:
    """What the parser did not understand, and where."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return str(error)
    return f"{error.problem} (line {error.problem_mark.line + 1}, column {error.problem_mark.column + 1})"


def _problem(item: ErrorDetails) -> str:
    """One finding of pydantic's, with the key and the value. Our own validators name the values themselves."""
    where = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        return f"{where}: no such key{_suggest(item['loc'])}"
    if item["type"] == "missing":
        way = f"set it in the recipe or with {where}=VALUE" if "." in where else "add the section to the recipe"
        return f"{where}: is required; {way}"
    if item["type"] == "value_error":
        rule = item["msg"].removeprefix("Value error, ")
        return f"{where}: {rule}" if where else rule
    return f"{where}: {item['msg']} (got {str(item['input'])[:80]!r})"


def _suggest(location: tuple[int | str, ...]) -> str:
    model: Any = RunConfig
    for part in location[:-1]:
        field = getattr(model, "model_fields", {}).get(part)
        model = field.annotation if field is not None else None
    known = list(getattr(model, "model_fields", {}))
    if location == ("serving", "canary"):
        return " (it is self_check now)"
    close = difflib.get_close_matches(str(location[-1]), known, n=1)
    return f" (did you mean {close[0]}?)" if close else f" (there are: {', '.join(known)})" if known else ""
