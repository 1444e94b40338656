"""Finding the Ray Serve config, and stopping engines that stay."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from aria_ray.errors import ServingError
from aria_ray.grammar import REASONING_PARSER, TOOL_PARSER
from aria_ray.serving.deploy import find_config, stop_engines


def test_config_in_the_working_directory_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "serve").mkdir()
    (tmp_path / "serve" / "laptop.yaml").write_text("{}")
    monkeypatch.chdir(tmp_path)
    assert find_config("serve/laptop.yaml").absolute() == tmp_path / "serve" / "laptop.yaml"


def test_shipped_config_is_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_config("serve/laptop.yaml").is_file()


@pytest.mark.parametrize("name", ["laptop", "h100", "mi300x"])
def test_every_shipped_config_names_the_parsers_that_rows_are_proved_with(name: str) -> None:
    options = yaml.safe_load(find_config(f"serve/{name}.yaml").read_text())["applications"][0]["args"]["engine_kwargs"]
    assert (options["reasoning_parser"], options["tool_call_parser"]) == (REASONING_PARSER, TOOL_PARSER)


def test_missing_config_names_both_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ServingError, match=f"nope.yaml' is neither at {tmp_path}/nope.yaml nor at"):
        find_config("nope.yaml")


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
