"""The engine's processes sleep while they wait, where they are told to. vLLM itself is imported, in a process of its own."""

import os
import subprocess
import sys

import pytest

from aria_ray.errors import ServingError
from aria_ray.serving.app import llm_config, parse_args
from aria_ray.serving.engine_wait import PAUSE_S, PAUSE_VARIABLE

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
