"""`ray job submit` of the smoke recipe to a cluster started with `ray start --head`, as on a real cluster."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
import pytest
import two_hosts

pytestmark = [
    pytest.mark.ray,
    pytest.mark.vllm,
    pytest.mark.training,
    pytest.mark.skipif(two_hosts.missing() is None, reason="test_ray_up.py submits this job to two hosts here"),
]

ROOT = Path(__file__).parents[2]
RAY = Path(sys.executable).parent / "ray"


@pytest.fixture
def cluster(tmp_path, free_port):
    """The dashboard address and the environment of a cluster of this test's own."""
    port, dashboard = free_port(), free_port()
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    environment |= {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
    head = [RAY, "start", "--head", f"--port={port}", "--num-cpus=2", "--block", "--dashboard-host=127.0.0.1"]
    # Not below tmp_path: the path of a Unix socket in it may have 107 bytes.
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp") as folder, (tmp_path / "head.log").open("w") as log:
        head.append(f"--temp-dir={folder}")
        running = subprocess.Popen(
            [*head, f"--dashboard-port={dashboard}"], env=environment, stdout=log, stderr=log, start_new_session=True
        )
        try:
            wait_until_up(f"http://127.0.0.1:{dashboard}/api/version", running, tmp_path / "head.log")
            yield f"http://127.0.0.1:{dashboard}", environment
        finally:
            running.terminate()
            running.wait(timeout=60)


def wait_until_up(url, running, log):
    deadline = time.monotonic() + 120
    while True:
        try:
            if httpx.get(url, trust_env=False).is_success:
                return
        except httpx.TransportError:
            assert running.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.5)


def test_a_submitted_job_runs_the_whole_path(cluster, tmp_path, free_port):
    address, environment = cluster
    out = tmp_path / "out"
    # A working directory as a user has it, without the environment that lies in it here.
    source = tmp_path / "source"
    for name in ("aria_ray", "serve", "pyproject.toml", "README.md"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        source.mkdir(exist_ok=True)
        copy(ROOT / name, source / name)
    job = [sys.executable, "-m", "aria_ray", "run", "smoke", "--out", str(out), f"serving.port={free_port()}"]
    done = subprocess.run(
        [RAY, "job", "submit", f"--address={address}", "--working-dir=.", "--", *job],
        cwd=source,
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert json.loads((out / "report.json").read_text())["provenance"]["recipe"] == "smoke"
    assert "succeeded" in done.stdout
