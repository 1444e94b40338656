"""The files for `ray up`, as Ray itself reads them: its defaults put in, then its own schema and checks."""

import copy
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from click import ClickException
from ray.autoscaler._private.util import prepare_config, validate_config

pytestmark = pytest.mark.ray

FOLDER = Path(__file__).parents[3] / "cluster"
FILES = sorted(FOLDER.glob("*.yaml"))


def read(name: str) -> dict[str, Any]:
    tree: dict[str, Any] = yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    return tree


def prepared(tree: dict[str, Any]) -> dict[str, Any]:
    whole: dict[str, Any] = prepare_config(copy.deepcopy(tree))
    validate_config(whole)
    return whole


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_ray_takes_the_file(path: Path) -> None:
    whole = prepared(read(path.stem))
    # Ray's own commands for a provider come in where a file has none: for Azure a nightly Ray for another Python.
    commands = " ".join(whole["setup_commands"])
    assert "conda" not in commands
    assert "aria-ray" in commands


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_node_asks_for_the_token_and_the_dashboard_stays_inside(path: Path) -> None:
    tree = read(path.stem)
    assert any(target.endswith(".ray/auth_token") for target in tree["file_mounts"])
    for start in (tree["head_start_ray_commands"][-1], tree["worker_start_ray_commands"][-1]):
        assert "RAY_AUTH_MODE=token" in start
    assert "--dashboard-host=127.0.0.1" in tree["head_start_ray_commands"][-1]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda tree: tree["available_node_types"]["mi300x"]["resources"].update(GPU=7.5),
        lambda tree: tree.update(worker_type="mi300x"),
        lambda tree: tree["docker"].update(devices=["/dev/kfd"]),
        lambda tree: tree["available_node_types"]["mi300x"].update(gpus=8),
        lambda tree: tree.update(head_node_type="nobody"),
        lambda tree: tree["available_node_types"]["mi300x"].update(min_workers=3),
    ],
    ids=[
        "fractional GPUs",
        "unknown key",
        "unknown docker key",
        "unknown key of a node type",
        "no such head",
        "fewer than the fewest",
    ],
)
def test_ray_refuses_it_spoilt(spoil: Any) -> None:
    """So that the tests above can fail."""
    tree = read("mi300x")
    spoil(tree)
    with pytest.raises((jsonschema.ValidationError, ClickException, ValueError)):
        prepared(tree)


def test_mi300x_scales_from_none_and_gives_back() -> None:
    whole = prepared(read("mi300x"))
    workers = whole["available_node_types"]["mi300x"]
    assert workers["min_workers"] == 0
    assert 1 <= workers["max_workers"] <= whole["max_workers"]
    assert workers["node_config"]["azure_arm_parameters"]["vmSize"] == "Standard_ND96isr_MI300X_v5"
    assert whole["provider"]["cache_stopped_nodes"] is False
    assert whole["head_node_type"] == "head"


def test_mi300x_container_gets_the_gpus_and_a_shell() -> None:
    docker = read("mi300x")["docker"]
    assert "--entrypoint=" in docker["run_options"]
    assert {"--device=/dev/kfd", "--device=/dev/dri", "--group-add=video"} <= set(docker["worker_run_options"])
    assert docker["disable_automatic_runtime_detection"] is True
    # A head without GPUs would not start with them.
    assert not any("--device" in option for option in docker["run_options"])


def test_mi300x_keeps_the_images_torch_and_brings_amdsmi() -> None:
    commands = read("mi300x")["setup_commands"]
    assert any("--constraint /tmp/image.txt" in command and "[rocm]" in command for command in commands)
    assert any("amd_smi" in command for command in commands)
    assert not any("ray[llm]" in command for command in commands)


def test_mi300x_workers_see_their_own_gpus_only() -> None:
    start = read("mi300x")["worker_start_ray_commands"][-1]
    assert "unset ROCR_VISIBLE_DEVICES RAY_EXPERIMENTAL_NOSET_HIP_VISIBLE_DEVICES" in start
