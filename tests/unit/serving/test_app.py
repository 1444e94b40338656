"""What a Ray Serve config's arguments turn into, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from aria_ray.errors import ServingError
from aria_ray.serving.app import IMPORT_PATH, check_args, llm_config

CONFIGS = sorted((Path(__file__).parents[3] / "serve").glob("*.yaml"))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text("{}")
    return tmp_path


def test_cpu_engine_gets_the_threads_ray_would_take_away(model: Path) -> None:
    config = llm_config(check_args({"model": str(model), "accelerator": "cpu"}), threads=6)
    assert config["runtime_env"]["env_vars"]["OMP_NUM_THREADS"] == "6"
    assert config["placement_group_config"] == {"bundle_per_worker": {"CPU": 0.25}}
    assert config["model_loading_config"] == {"model_id": "aria", "model_source": str(model)}


def test_threads_in_the_config_win(model: Path) -> None:
    args = {"model": str(model), "accelerator": "cpu", "env_vars": {"OMP_NUM_THREADS": "3"}}
    assert llm_config(check_args(args), threads=6)["runtime_env"]["env_vars"]["OMP_NUM_THREADS"] == "3"


def test_gpu_engine_gets_a_gpu_and_no_thread_count(model: Path) -> None:
    config = llm_config(check_args({"model": str(model), "accelerator": "gpu", "accelerator_type": "H100"}), threads=6)
    assert config["placement_group_config"]["bundle_per_worker"]["GPU"] == 1
    assert config["accelerator_type"] == "H100"
    assert config["runtime_env"]["env_vars"] == {}


def test_a_new_version_lets_the_old_one_finish_and_may_start_before_it_goes(model: Path) -> None:
    args = {"model": str(model), "accelerator": "cpu", "drain_timeout_s": 300, "replicas": {"surge_percent": 100}}
    deployment = llm_config(check_args(args), threads=1)["deployment_config"]
    assert (deployment["graceful_shutdown_timeout_s"], deployment["max_surge_percent"]) == (300, 100)


def test_chat_template_is_sent_as_text(model: Path) -> None:
    template = model / "base.jinja"
    template.write_text("{{ messages }}")
    args = check_args({"model": str(model), "accelerator": "cpu", "chat_template": str(template)})
    assert llm_config(args, threads=1)["engine_kwargs"]["chat_template"] == "{{ messages }}"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "/nowhere/model"}, "/nowhere/model.*config.json.*aria train"),
        ({"replica": 2}, "args.replica: Extra inputs"),
        ({"replicas": {"min": 3, "max": 1}}, r"min \(3\) must not be above max \(1\)"),
        ({"chat_template": "/nowhere/x.jinja"}, "/nowhere/x.jinja.*must be a Jinja file"),
        ({"accelerator": "tpu"}, "args.accelerator"),
    ],
)
def test_wrong_arguments_are_named(model: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ServingError, match=message):
        check_args({"model": str(model), "accelerator": "cpu", **changes})


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_configs_are_valid(path: Path, model: Path) -> None:
    (application,) = yaml.safe_load(path.read_text())["applications"]
    assert application["import_path"] == IMPORT_PATH
    args = check_args(application["args"] | {"model": str(model)})
    assert args.engine_kwargs["reasoning_parser"] == "qwen3"
    assert args.engine_kwargs["tool_call_parser"] == "hermes"


@pytest.mark.vllm
@pytest.mark.parametrize("path", [path for path in CONFIGS if path.stem != "laptop"], ids=lambda path: path.stem)
def test_what_is_switched_off_in_a_shipped_config_is_an_argument_of_the_engine(path: Path) -> None:
    """With the comment signs taken away, each is a field of vLLM's, and vLLM reads the speculation as it is meant."""
    from vllm import AsyncEngineArgs
    from vllm.config import SpeculativeConfig

    text = path.read_text().replace("# quantization:", "quantization:").replace("# speculative_config:", "speculative_config:")
    engine_kwargs = yaml.safe_load(text)["applications"][0]["args"]["engine_kwargs"]
    assert engine_kwargs["quantization"] == "fp8"
    assert engine_kwargs.keys() <= AsyncEngineArgs.__dataclass_fields__.keys() | {"enable_auto_tool_choice", "tool_call_parser"}
    assert SpeculativeConfig.__dataclass_fields__.keys() >= engine_kwargs["speculative_config"].keys()
