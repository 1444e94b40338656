"""The private parts of vLLM and Ray Serve LLM that serving uses are where they were, and what is done with them works.

vLLM is imported in processes of its own.
"""

import asyncio
import inspect
import os
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from private_parts import check_there
from ray.serve._private.client import ServeControllerClient

from aria_ray.errors import ServingError
from aria_ray.serving.app import llm_config, parse_args
from aria_ray.serving.patches import PAUSE_S, PAUSE_VARIABLE, skip_download, sleep_between_polls

pytestmark = pytest.mark.ray

ROOT = Path(__file__).parents[3]
LOADS_PLUGINS = """
import os, time
from vllm.plugins import load_general_plugins
load_general_plugins()
from vllm.distributed.device_communicators import shm_broadcast
slept = []
time.sleep = slept.append
shm_broadcast.SpinCondition.wait(type("Waiting", (), {"is_reader": True, "last_read": time.monotonic(), "busy_loop_s": 60})())
print(slept)
"""


@pytest.mark.vllm
def test_vllm_polls_by_that_name():
    check_there("serving", "vllm", "vllm.distributed.device_communicators.shm_broadcast", "sched_yield")


def test_the_installed_entry_point_is_the_one_in_pyproject():
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = pyproject["project"]["entry-points"]["vllm.general_plugins"]["aria_ray"]
    (installed,) = entry_points(group="vllm.general_plugins", name="aria_ray")
    assert installed.value == wanted, "the installed package is older than pyproject.toml; install it again: make"
    assert installed.load() is sleep_between_polls


def test_importing_it_imports_neither_ray_nor_vllm():
    code = "import sys, aria_ray.serving.patches; print([name for name in ('ray', 'vllm', 'torch') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_ray_skips_the_download_by_that_switch():
    check_there("serving", "ray", "ray.llm._internal.common.callbacks.base", "CallbackBase.run_callback")
    check_there("serving", "ray", "ray.llm._internal.common.callbacks.base", "CallbackCtx.run_init_node")
    callback = skip_download(llm_config=None, ctx_kwargs={"placement_group": "group"})
    asyncio.run(callback.run_callback("on_before_node_init"))
    assert (callback.ctx.run_init_node, callback.ctx.placement_group) == (False, "group")


def test_the_client_of_ray_serve_has_its_controller_and_that_task():
    check_there("serving", "ray", "ray.serve.context", "_get_global_client")
    assert "self._controller.graceful_shutdown.remote" in inspect.getsource(ServeControllerClient.shutdown)
    check_there("serving", "ray", "ray.serve._private.controller", "ServeController.graceful_shutdown")


def test_ray_finds_it_by_the_path_in_the_config():
    from ray.llm._internal.common.utils.import_utils import load_class

    path = llm_config(parse_args({"model": "m", "accelerator": "cpu"}), threads=2)["callback_config"]["callback_class"]
    assert load_class(path) is skip_download


@pytest.mark.parametrize(
    ("setting", "slept"),
    [
        ({PAUSE_VARIABLE: "0.004"}, [0.004]),
        ({PAUSE_VARIABLE: "0"}, []),
        ({PAUSE_VARIABLE: "2ms"}, []),
        ({}, []),
    ],
)
def test_vllm_loads_it_and_sleeps_as_told(setting, slept):
    environment = {name: value for name, value in os.environ.items() if name != PAUSE_VARIABLE} | setting
    done = subprocess.run([sys.executable, "-c", LOADS_PLUGINS], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines()[-1] == str(slept)


@pytest.mark.parametrize(
    ("accelerator", "own", "expected"), [("cpu", {}, str(PAUSE_S)), ("cpu", {PAUSE_VARIABLE: "0"}, "0"), ("gpu", {}, None)]
)
def test_engines_on_processors_are_told(accelerator, own, expected):
    args = parse_args({"model": "m", "accelerator": accelerator, "env_vars": own})
    assert llm_config(args, threads=2)["runtime_env"]["env_vars"].get(PAUSE_VARIABLE) == expected


@pytest.mark.parametrize("value", ["2ms", "-0.1", "5", "nan"])
def test_a_pause_that_is_none_is_refused(value):
    with pytest.raises(ServingError, match=rf"{PAUSE_VARIABLE} \({value}\) must be seconds from 0 to 0.1"):
        parse_args({"model": "m", "accelerator": "cpu", "env_vars": {PAUSE_VARIABLE: value}})
