"""Two hosts on one machine, for what needs a cluster of more than one: network namespaces with an sshd each.

Each has an address, process ids, a home and a folder for Ray of its own, and its name at 127.0.1.1 as Debian has it; files are
otherwise shared. Needs root, iproute2, openssh-server and rsync.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

NEEDED = ("ip", "unshare", "sshd", "ssh", "ssh-keygen", "rsync")
BRIDGE, NETWORK = "ariabr0", "10.77.0"
NAMES = ("ariahead", "ariaworker")
SSHD_CONFIG = """
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/key.pub
StrictModes no
PermitRootLogin yes
UsePAM no
PidFile none
MaxStartups 100
"""
START = """
set -e
ip link set lo up
hostname {name}
printf '127.0.0.1 localhost\n127.0.1.1 {name}\n' > {folder}/{name}.hosts && mount --bind {folder}/{name}.hosts /etc/hosts
: > {folder}/{name}.resolv && mount --bind {folder}/{name}.resolv /etc/resolv.conf
mkdir -p /tmp/ray {folder}/{name} && mount -t tmpfs none {folder}/{name} && mkdir {folder}/{name}/up {folder}/{name}/work
mount -t tmpfs none /tmp/ray
mount -t overlay overlay -o lowerdir=/root,upperdir={folder}/{name}/up,workdir={folder}/{name}/work /root
mkdir -p /run/sshd
exec {sshd} -D -e -f {folder}/sshd_config
"""


def missing() -> str | None:
    """Why hosts cannot be made here; None where they can."""
    if os.name != "posix" or os.geteuid() != 0:
        return "making network namespaces needs root"
    lacking = [name for name in NEEDED if shutil.which(name) is None]
    if lacking:
        return f"not installed: {', '.join(lacking)} (Debian: iproute2 openssh-server rsync)"
    tried = subprocess.run(
        ["unshare", "--net", "--pid", "--mount", "--uts", "--fork", "true"], capture_output=True, check=False
    )
    return None if tried.returncode == 0 else "this container may not make namespaces"


@dataclass(frozen=True)
class Hosts:
    """The addresses of head and worker, a key for root on both, and a folder that both see."""

    folder: Path
    head: str
    worker: str

    @property
    def key(self) -> Path:
        return self.folder / "key"

    @property
    def shared(self) -> Path:
        return self.folder / "shared"

    def connect(self, on: bool) -> None:
        """Plug the worker's cable in, or pull it."""
        _ip("link", "set", f"v{NAMES[1]}", "up" if on else "down")


@contextmanager
def two_hosts() -> Iterator[Hosts]:
    """Hosts for the block; afterwards they are gone with everything that ran on them."""
    # Not below /tmp, of which a part is each host's own.
    folder = Path(tempfile.mkdtemp(prefix="aria-hosts-", dir="/var/tmp"))
    (folder / "shared").mkdir()
    for name in ("key", "host_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    (folder / "sshd_config").write_text(SSHD_CONFIG.format(folder=folder))
    running: list[subprocess.Popen[bytes]] = []
    _take_down(running)  # of a run that was killed
    try:
        _ip("link", "add", BRIDGE, "type", "bridge")
        _ip("addr", "add", f"{NETWORK}.254/24", "dev", BRIDGE)
        _ip("link", "set", BRIDGE, "up")
        for number, name in enumerate(NAMES, start=1):
            running.append(_start(folder, name, f"{NETWORK}.{number}"))
        hosts = Hosts(folder, *(f"{NETWORK}.{number}" for number in (1, 2)))
        for address in (hosts.head, hosts.worker):
            _wait_for_ssh(hosts, address)
        yield hosts
    finally:
        _take_down(running)
        shutil.rmtree(folder, ignore_errors=True)


def ssh(hosts: Hosts, address: str, command: str) -> subprocess.CompletedProcess[str]:
    """Run a command on a host."""
    options = [
        "-o",
        "StrictHostKeyChecking=no",
        "-o",
        "UserKnownHostsFile=/dev/null",
        "-o",
        "ConnectTimeout=5",
        "-i",
        hosts.key,
    ]
    return subprocess.run(
        ["ssh", *options, f"root@{address}", command], capture_output=True, text=True, timeout=120, check=False
    )


def _start(folder: Path, name: str, address: str) -> subprocess.Popen[bytes]:
    _ip("netns", "add", name)
    _ip("link", "add", f"v{name}", "type", "veth", "peer", "name", "eth0", "netns", name)
    _ip("link", "set", f"v{name}", "master", BRIDGE, "up")
    _ip("-n", name, "addr", "add", f"{address}/24", "dev", "eth0")
    _ip("-n", name, "link", "set", "eth0", "up")
    _ip("-n", name, "route", "add", "default", "via", f"{NETWORK}.254")
    script = START.format(name=name, folder=folder, sshd=shutil.which("sshd"))
    own = ["unshare", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc", "--uts"]
    with (folder / f"{name}.log").open("w") as log:
        return subprocess.Popen(
            ["ip", "netns", "exec", name, *own, "sh", "-c", script], stdout=log, stderr=log, start_new_session=True
        )


def _wait_for_ssh(hosts: Hosts, address: str) -> None:
    deadline = time.monotonic() + 30
    while (tried := ssh(hosts, address, f"test -x {sys.executable}")).returncode != 0:
        if time.monotonic() > deadline:
            logs = "\n".join(path.read_text() for path in hosts.folder.glob("*.log"))
            raise AssertionError(f"{address}: {tried.stderr}\n{logs}")
        time.sleep(0.5)


def _take_down(running: list[subprocess.Popen[bytes]]) -> None:
    for process in running:
        # With the first process of its process ids goes every other.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    for name in NAMES:
        subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
        subprocess.run(["ip", "link", "del", f"v{name}"], capture_output=True, check=False)
    subprocess.run(["ip", "link", "del", BRIDGE], capture_output=True, check=False)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)
