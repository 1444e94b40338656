"""The Ray Serve config that `serving.file` names: where it is, and what it says."""

from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, Field, ValidationError

from aria_ray.config.schema import ServingConfig
from aria_ray.errors import ServingError
from aria_ray.serving.app import IMPORT_PATH

_CONFIGS = resources.files("aria_ray.serving").joinpath("configs")


class _Application(BaseModel):
    import_path: str = Field(pattern=f"^{IMPORT_PATH}$")
    args: dict[str, Any]


class _ServeFile(BaseModel):
    applications: list[_Application] = Field(min_length=1, max_length=1)


def config_names() -> tuple[str, ...]:
    """Names of the Ray Serve configs shipped with the package, sorted."""
    return tuple(sorted(item.name.removesuffix(".yaml") for item in _CONFIGS.iterdir() if item.name.endswith(".yaml")))


def find_config(file: str) -> Traversable:
    """The Ray Serve config that `serving.file` names.

    Either the path of a file, from the working directory, or the name of a shipped one: `laptop`, `laptop.yaml`, or
    `serve/laptop.yaml`, its path in a checkout. A path that exists comes first.

    Raises:
        ServingError: it is neither.
    """
    given = Path(file)
    if given.is_file():
        return given
    name = file.removeprefix("serve/").removesuffix(".yaml")
    if name in config_names():
        return _CONFIGS.joinpath(f"{name}.yaml")
    raise ServingError(
        f"serving.file '{file}' is neither a file at {given.absolute()} nor one of {', '.join(config_names())}, which are in "
        f"{_CONFIGS}",
        "give the path of a Ray Serve config, or one of these names",
    )


def read_config(file: str) -> dict[str, Any]:
    """The content of the Ray Serve config, without comments and the order of its keys.

    Raises:
        ServingError: there is no such file, or it is not a config of one application of ours.
    """
    path = find_config(file)
    try:
        tree: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
        _ServeFile.model_validate(tree)
    except (yaml.YAMLError, UnicodeDecodeError, ValidationError):
        raise ServingError(
            f"serving.file {path} must be a Ray Serve config with one application, import_path {IMPORT_PATH} and args",
            f"start from a copy of {_CONFIGS.joinpath('laptop.yaml')}",
        ) from None
    return tree


def serving_inputs(config: ServingConfig) -> dict[str, Any]:
    """What decides how a model is served: hashed into the fingerprint of what is measured."""
    return {"serving": read_config(config.file)}
