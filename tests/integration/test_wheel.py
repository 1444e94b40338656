"""The built wheel in an environment and a folder of its own: everything works that does not need the checkout's files."""

import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import httpx
import pytest
import yaml

pytestmark = [pytest.mark.index, pytest.mark.ray, pytest.mark.training, pytest.mark.vllm]

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 900


def outside():
    """The variables for a process that must not find the checkout."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH" and not name.startswith("RAY_")}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from a copy of the source: setuptools leaves folders of its own where it builds."""
    source = tmp_path_factory.mktemp("source")
    shutil.copytree(ROOT / "aria_ray", source / "aria_ray", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    # The environment's own setuptools: nothing is asked of the package index.
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(source / "dist"), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = (source / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory):
    """A virtual environment with the wheel in it: its folder of programs.

    The dependencies, gigabytes, are those of this environment. A .pth file names their folder; the .pth files in that folder,
    by which the checkout is installed for editing, are not read.
    """
    root = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(root)], check=True)
    pip = [sys.executable, "-m", "pip", "--python", str(root / "bin" / "python")]
    subprocess.run([*pip, "install", "--quiet", "--no-deps", "--no-index", str(wheel)], env=outside(), check=True)
    (packages,) = root.glob("lib/python*/site-packages")
    folders = {sysconfig.get_path(name) for name in ("purelib", "platlib")}
    (packages / "dependencies.pth").write_text("".join(f"{folder}\n" for folder in sorted(folders)))
    return root / "bin"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The empty folder that the commands are run in."""
    return tmp_path_factory.mktemp("empty")


def aria(environment, folder, *arguments):
    command = [str(environment / "aria"), *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, env=outside(), capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def finished(environment, folder, free_port):
    """`aria generate smoke`, then `aria run smoke`, which goes on from there: the run directory, and its endpoint's port."""
    port = free_port()
    assert "dataset" in aria(environment, folder, "generate", "smoke", f"serving.port={port}")
    printed = aria(environment, folder, "run", "smoke", f"serving.port={port}")
    assert "dataset: reused" in printed
    assert "Verdict:" in printed
    return folder / "aria_llama_final_output", port


def test_the_wheel_has_every_file_of_the_package(wheel):
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("aria_ray/")}
    tree = {str(path.relative_to(ROOT)) for path in (ROOT / "aria_ray").rglob("*") if path.is_file()}
    assert packed == {name for name in tree if "__pycache__" not in name}


def test_the_wheel_has_the_licence_and_says_which_it_is(wheel):
    with zipfile.ZipFile(wheel) as files:
        (metadata,) = [name for name in files.namelist() if name.endswith(".dist-info/METADATA")]
        text = files.read(metadata).decode()
        licence = files.read(metadata.replace("METADATA", "licenses/LICENSE")).decode()
    assert "License-Expression: Apache-2.0" in text
    assert licence == (ROOT / "LICENSE").read_text()


def test_the_package_under_test_is_the_one_of_the_wheel(environment, folder):
    command = [str(environment / "python"), "-c", "import aria_ray; print(aria_ray.__file__)"]
    done = subprocess.run(command, cwd=folder, env=outside(), capture_output=True, text=True, check=True)
    assert Path(done.stdout.strip()).is_relative_to(environment.parent)


def test_it_says_what_it_would_run(environment, folder):
    assert yaml.safe_load(aria(environment, folder, "config", "mi300x"))["serving"]["file"] == "mi300x"


def test_it_plans(environment, folder):
    assert "8 x MI300X" in aria(environment, folder, "plan", "mi300x")


def test_a_run_ends_with_a_model_and_a_report(finished):
    out, _ = finished
    for name in ("final_dataset.jsonl", "production_model.ckpt/model.safetensors", "report.html"):
        assert (out / name).stat().st_size > 0, name
    report = json.loads((out / "report.json").read_text())
    assert {metric["name"]: metric["value"] for metric in report["metrics"]}["output_tokens_per_s"] > 0
    # A package has no commit: what ran was not the checkout.
    assert json.loads((out / "dataset" / "manifest.json").read_text())["commit"] is None


def test_it_serves_until_ctrl_c(environment, folder, finished):
    _, port = finished
    running = subprocess.Popen(
        [str(environment / "aria"), "serve", "smoke", f"serving.port={port}"],
        cwd=folder,
        env=outside(),
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Tests that were started in the background have SIGINT ignored, and would hand that on.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        for line in running.stdout:
            if "Serving model" in line:
                break
        else:
            pytest.fail(f"the endpoint never came up (exit {running.wait()})")
        listed = httpx.get(f"http://127.0.0.1:{port}/v1/models", trust_env=False, timeout=60).raise_for_status().json()
        assert [model["id"] for model in listed["data"]] == ["aria"]
        running.send_signal(signal.SIGINT)
        assert running.wait(timeout=120) == 130
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
