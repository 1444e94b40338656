"""The engine processes of a deployment on this machine: how to tell them, stop them, and read what went wrong in one.

Ray Serve starts replicas, and each replica starts vLLM's processes. They inherit the replica's environment. A mark in it tells
which deployment they belong to, even after their replica has died.
"""

import re
import time
from pathlib import Path

import psutil

MARK_VARIABLE = "ARIA_ENDPOINT"
STOP_S = 20.0
"""Time that engine processes get to end by themselves after their deployment has been deleted."""
_ENGINE_ERROR = re.compile(r"^\((?:Worker|EngineCore)[^)]*\) ERROR [^\]]*\] ([\w.]*(?:Error|Exception): .*)", re.M)


def stop_engines(mark: str, timeout_s: float = STOP_S) -> int:
    """Wait until one deployment's engine processes have ended, and kill the rest. Returns the number killed."""
    engines = _engines(mark)
    deadline = time.monotonic() + timeout_s
    while engines and time.monotonic() < deadline:
        time.sleep(0.5)
        engines = _engines(mark)
    for process in engines:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(engines, timeout=5)
    return len(engines)


def engine_error(logs: Path) -> str:
    """The first error in the most recent log of an engine process that has one; empty where none has.

    `logs` is the folder of Ray's session. vLLM tells the process that started it only to "See root cause above".
    """
    for path in sorted(logs.glob("worker-*.out"), key=lambda item: item.stat().st_mtime, reverse=True):
        if error := _ENGINE_ERROR.search(path.read_text(encoding="utf-8", errors="replace")):
            return error.group(1)[:1000]
    return ""


def _engines(mark: str) -> list[psutil.Process]:
    """The processes with that mark, without Ray's workers, which Ray stops itself."""
    marked = []
    for process in psutil.process_iter(["environ", "cmdline"]):
        command = " ".join(process.info["cmdline"] or ())
        is_ray = command.startswith("ray::") or "default_worker.py" in command
        if command and not is_ray and (process.info["environ"] or {}).get(MARK_VARIABLE) == mark:
            marked.append(process)
    return marked
