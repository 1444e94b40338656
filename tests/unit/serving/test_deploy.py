"""Finding the Ray Serve config, and stopping engines that stay."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from aria_ray.config import load_config, recipe_names
from aria_ray.errors import ServingError
from aria_ray.grammar import REASONING_PARSER, TOOL_PARSER
from aria_ray.serving.deploy import config_names, find_config, read_config, stop_engines

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("file", ["laptop", "laptop.yaml", "serve/laptop.yaml"])
def test_a_file_in_the_working_directory_comes_first(file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text("my own")
    monkeypatch.chdir(tmp_path)
    assert find_config(file).read_text(encoding="utf-8") == "my own"


@pytest.mark.parametrize("file", ["laptop", "laptop.yaml", "serve/laptop.yaml"])
def test_a_shipped_config_is_found_by_name_from_anywhere(file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "laptop").mkdir()  # a folder of that name is no config
    monkeypatch.chdir(tmp_path)
    assert find_config(file).read_text(encoding="utf-8").startswith("# One engine on the CPUs of one machine.")


def test_every_recipe_names_a_config_that_is_shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for recipe in recipe_names():
        assert read_config(load_config(recipe).serving.file)["applications"], recipe


def test_a_checkout_has_every_shipped_config_under_serve() -> None:
    """`serve run serve/laptop.yaml` from a checkout and `serving.file=laptop` from anywhere read the same file."""
    files = {path.stem: path for path in (ROOT / "serve").glob("*.yaml")}
    assert set(files) == set(config_names())
    for name, path in files.items():
        assert path.samefile(ROOT / "aria_ray" / "serving" / "configs" / f"{name}.yaml")


@pytest.mark.parametrize("name", ["laptop", "h100", "mi300x"])
def test_every_shipped_config_names_the_parsers_that_rows_are_proved_with(name: str) -> None:
    options = yaml.safe_load(find_config(f"serve/{name}.yaml").read_text())["applications"][0]["args"]["engine_kwargs"]
    assert (options["reasoning_parser"], options["tool_call_parser"]) == (REASONING_PARSER, TOOL_PARSER)


@pytest.mark.parametrize("file", ["nope.yaml", "serve/nope.yaml", "../configs/laptop", ""])
def test_a_missing_config_says_both_places_and_what_is_shipped(
    file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ServingError) as refused:
        find_config(file)
    told = str(refused.value)
    assert str(Path(file).absolute()) in told
    assert "one of h100, laptop, mi300x" in told
    assert str(ROOT / "aria_ray" / "serving" / "configs") in told


def test_only_processes_with_the_mark_are_killed() -> None:
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    marked, other = (subprocess.Popen(command, env=os.environ | {"ARIA_ENDPOINT": mark}) for mark in ("engine-1", "engine-2"))
    try:
        assert stop_engines("engine-1", timeout_s=0.5) == 1
        assert marked.poll() is not None
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()
