"""The files for KubeRay: the pods by Kubernetes' own schema, the rest by what KubeRay and Ray make of it."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from aria_ray.serving.app import IMPORT_PATH, parse_args

FOLDER = Path(__file__).parents[3] / "cluster" / "kuberay"
FILES = sorted(FOLDER.glob("*.yaml"))
KUBERNETES = "1.31"
CLUSTER_KEYS = {
    "rayVersion",
    "authOptions",
    "enableInTreeAutoscaling",
    "autoscalerOptions",
    "headGroupSpec",
    "workerGroupSpecs",
}


def read(path: Path) -> dict[str, Any]:
    tree: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return tree


def cluster_of(tree: dict[str, Any]) -> dict[str, Any]:
    """The cluster in a RayCluster, a RayJob or a RayService."""
    spec = tree["spec"]
    cluster: dict[str, Any] = spec.get("rayClusterSpec") or spec.get("rayClusterConfig") or spec
    return cluster


def groups_of(tree: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield cluster_of(tree)["headGroupSpec"]
    yield from cluster_of(tree)["workerGroupSpecs"]


def pod(group: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, **copy.deepcopy(group["template"])}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_pods_are_kubernetes_own(path: Path) -> None:
    tree = read(path)
    assert tree["apiVersion"] == "ray.io/v1"
    assert cluster_of(tree).keys() == CLUSTER_KEYS
    for group in groups_of(tree):
        kubernetes_validate.validate(pod(group), KUBERNETES, strict=True)


def test_a_spoilt_pod_is_refused() -> None:
    """So that the test above can fail."""
    spoilt = pod(next(groups_of(read(FILES[0]))))
    spoilt["spec"]["containers"][0]["resources"]["limit"] = {"amd.com/gpu": 8}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(spoilt, KUBERNETES, strict=True)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_volumes_are_there_and_the_token_is_asked_for(path: Path) -> None:
    # By the operator: its autoscaler and its own requests need the token as much as Ray's pods do.
    assert cluster_of(read(path))["authOptions"] == {"mode": "token"}
    for group in groups_of(read(path)):
        spec = group["template"]["spec"]
        (container,) = spec["containers"]
        assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in spec["volumes"]}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_workers_have_amds_gpus_and_their_type(path: Path) -> None:
    head, workers = groups_of(read(path))
    (container,) = workers["template"]["spec"]["containers"]
    # KubeRay makes Ray's GPUs of a limit whose name ends in "gpu".
    assert container["resources"]["limits"]["amd.com/gpu"] == "8"
    assert container["resources"]["requests"] == container["resources"]["limits"]
    assert (workers["minReplicas"], workers["replicas"]) == (0, 0)
    # KubeRay puts the value behind `ray start --resources=` for a shell, which takes the quotes off.
    text = workers["rayStartParams"]["resources"]
    assert json.loads(json.loads(text.strip("'"))) == {"accelerator_type:AMD-Instinct-MI300X-OAM": 1}
    (container,) = head["template"]["spec"]["containers"]
    assert "amd.com/gpu" not in container["resources"]["limits"]


def test_the_service_serves_what_serve_mi300x_yaml_serves_and_asks_for_keys() -> None:
    tree = yaml.safe_load(read(FOLDER / "rayservice.yaml")["spec"]["serveConfigV2"])
    shipped = yaml.safe_load((FOLDER.parents[1] / "serve" / "mi300x.yaml").read_text(encoding="utf-8"))
    (application,), (theirs,) = tree["applications"], shipped["applications"]
    assert application["import_path"] == IMPORT_PATH
    args = parse_args(application["args"])
    assert args.api_keys_file is not None
    assert args == parse_args(theirs["args"]).model_copy(update={"model": args.model, "api_keys_file": args.api_keys_file})


def test_the_job_runs_the_recipe_where_every_node_sees_it() -> None:
    tree = read(FOLDER / "rayjob.yaml")
    assert tree["spec"]["entrypoint"].startswith("python -m aria_ray run mi300x --out /shared/")
    assert tree["spec"]["shutdownAfterJobFinishes"] is True
