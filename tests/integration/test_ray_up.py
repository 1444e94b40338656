"""`ray up` over SSH onto two hosts, a run submitted to them as a job, one of them cut off while it trains, and `ray down`.

What `ray down` leaves is looked at when the cluster of this module ends.
"""

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from two_hosts import Hosts, missing, ssh, two_hosts

pytestmark = [
    pytest.mark.ray,
    pytest.mark.vllm,
    pytest.mark.training,
    pytest.mark.skipif(missing() is not None, reason=str(missing())),
]

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
TIMEOUT_S = 600


class Cluster:
    """A cluster that `ray up` made: `ray(...)` runs Ray's command line against it from outside."""

    def __init__(self, hosts: Hosts) -> None:
        self.hosts, self.file = hosts, hosts.folder / "cluster.yaml"
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
        self.environment |= {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(hosts.folder / "token"),
            "RAY_USAGE_STATS_ENABLED": "0",
        }

    def ray(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [BIN / "ray", *arguments],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with two_hosts() as hosts:
        made = Cluster(hosts)
        (hosts.folder / "token").write_text(secrets.token_hex(32))  # as `ray get-auth-token --generate` puts one into the home
        made.file.write_text(yaml.safe_dump(cluster_file(hosts)))
        up = made.ray("up", "--yes", "--no-config-cache", str(made.file))
        assert up.returncode == 0, up.stdout[-4000:] + up.stderr[-4000:]
        wait_for(lambda: len(alive(made)) == 2, "both hosts in the cluster", lambda: str(alive(made)))
        yield made
        take_down(made)


def take_down(cluster: Cluster) -> None:
    """`ray down` leaves nothing running on either host."""
    down = cluster.ray("down", "--yes", str(cluster.file))
    assert down.returncode == 0, down.stdout[-2000:] + down.stderr[-2000:]
    # Ray stops the head; a worker goes by itself, a minute after it has lost the head.
    for address in (cluster.hosts.head, cluster.hosts.worker):

        def raylets(address: str = address) -> str:
            return ssh(cluster.hosts, address, "ps ax -o args | grep raylet/[r]aylet").stdout

        wait_for(lambda raylets=raylets: not raylets(), f"no Ray on {address}", raylets)


def cluster_file(hosts: Hosts) -> dict[str, Any]:
    """cluster/onprem.yaml with these hosts' values. The environment is linked rather than installed anew on each host."""
    tree: dict[str, Any] = yaml.safe_load((ROOT / "cluster" / "onprem.yaml").read_text())
    tree["provider"] |= {"head_ip": hosts.head, "worker_ips": [hosts.worker]}
    tree["auth"] = {"ssh_user": "root", "ssh_private_key": str(hosts.key)}
    tree["file_mounts"] = {"~/aria-ray": str(ROOT), "~/.ray/auth_token": str(hosts.folder / "token")}
    tree["setup_commands"][0] = f"ln -sfn {sys.prefix} ~/aria-ray/.venv"
    for commands in (tree["head_start_ray_commands"], tree["worker_start_ray_commands"]):
        # One core each, so that a run of two workers needs both hosts.
        commands[-1] = commands[-1].replace("ray start", "ray start --num-cpus=1")
    return tree


ALIVE = """
import json, ray
ray.init(address="auto", log_to_driver=False, logging_level="ERROR")
print("alive:", json.dumps([node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]]))
"""


def alive(cluster: Cluster) -> list[str]:
    """The addresses of the cluster's live nodes, by Ray on the head."""
    script = cluster.hosts.folder / "alive.py"
    script.write_text(ALIVE)
    done = ssh(cluster.hosts, cluster.hosts.head, f"RAY_AUTH_MODE=token {sys.executable} {script}")
    # Ray may write lines of its own before and after ours, such as on a node that it has just lost.
    told = [line.removeprefix("alive:") for line in done.stdout.splitlines() if line.startswith("alive:")]
    addresses: list[str] = json.loads(told[-1]) if told else []
    return addresses


def wait_for(condition: Callable[[], bool], what: str, state: Callable[[], str]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline, f"{what}: {state()}"
        time.sleep(3)


def test_without_the_token_nothing_is_answered(cluster: Cluster) -> None:
    done = ssh(
        cluster.hosts, cluster.hosts.head, f"RAY_AUTH_MODE=disabled {BIN}/ray status --address={cluster.hosts.head}:6379"
    )
    assert done.returncode != 0
    # The dashboard, which takes jobs, is not to be reached from outside at all.
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://{cluster.hosts.head}:8265/api/version", trust_env=False, timeout=5)


def test_a_job_survives_a_host_that_is_cut_off(cluster: Cluster, free_port: Callable[[], int]) -> None:
    """The whole smoke run, its two training workers on two hosts; the second loses its network for a while as it trains."""
    hosts, port, out = cluster.hosts, free_port(), cluster.hosts.shared / "run"
    # Ray's own tunnel to the dashboard of the head, as a user makes it.
    tunnel = subprocess.Popen(
        [BIN / "ray", "dashboard", f"--port={port}", str(cluster.file)], env=cluster.environment, stdout=subprocess.DEVNULL
    )
    try:
        address = f"http://127.0.0.1:{port}"
        wait_for(lambda: reached(address), "the tunnel to the dashboard", lambda: str(tunnel.poll()))
        recipe = [
            "run",
            "smoke",
            f"--out={out}",
            "training.num_workers=2",
            "training.num_steps=24",
            "training.tokens_per_step=4096",
        ]
        entry = [sys.executable, "-m", "aria_ray", *recipe]
        job = cluster.ray("job", "submit", "--no-wait", f"--address={address}", "--submission-id=smoke", "--", *entry)
        assert job.returncode == 0, job.stdout + job.stderr

        def logs() -> str:
            return cluster.ray("job", "logs", f"--address={address}", "smoke").stdout[-4000:]

        wait_for(lambda: steps(out) >= 3 or not status(cluster, address), "three steps of training", logs)
        hosts.connect(on=False)
        wait_for(lambda: alive(cluster) == [hosts.head], "the head to miss the worker", lambda: str(alive(cluster)))
        hosts.connect(on=True)
        wait_for(lambda: "succeeded" in status(cluster, address), "the job to end", logs)
    finally:
        tunnel.terminate()
        tunnel.wait()
    report = json.loads((out / "report.json").read_text())
    assert report["provenance"]["recipe"] == "smoke"
    assert (out / "production_model.ckpt" / "config.json").is_file()


def reached(address: str) -> bool:
    with suppress(httpx.TransportError):
        return httpx.get(f"{address}/api/version", trust_env=False, timeout=5).status_code in (200, 401)
    return False


def steps(out: Path) -> int:
    log = out / "training" / "log.jsonl"
    return sum('"step"' in line for line in log.read_text().splitlines()) if log.is_file() else 0


def status(cluster: Cluster, address: str) -> str:
    said = cluster.ray("job", "status", f"--address={address}", "smoke").stdout.lower()
    assert "failed" not in said, cluster.ray("job", "logs", f"--address={address}", "smoke").stdout[-4000:]
    return said
