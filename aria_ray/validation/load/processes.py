"""Client processes that put load on an endpoint, each with its own event loop, HTTP client and share of the requests.

One Python process receives 8,000 to 20,000 chunks per second (measured on a small machine). Beyond that its delay would count
as the endpoint's. So several processes share the load, and each reports how much of a core it used.

A client process is a fresh interpreter with one pipe to the measuring process. The spawn method of multiprocessing would also
import the caller's main module, and torch with it if that is a benchmark. The process is outside the terminal's process group:
Ctrl-C reaches the measuring process alone, which then ends its clients. A client also ends when its pipe is closed.
"""

import asyncio
import contextlib
import itertools
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import Any, Literal

import httpx

from aria_ray.errors import AriaError
from aria_ray.records import Endpoint
from aria_ray.validation.client import Client, RequestFailure, StreamTiming, connect

Cached = Literal["tools", "nothing", "everything"]
"""Part of a prompt that the prefix cache may know (`numbered`)."""
OnResult = Callable[[StreamTiming | RequestFailure], None]

_COMMAND = "from aria_ray.validation.load.processes import main; main()"
_START_DELAY_S = 0.1
"""Time between the message that names the start and the start, enough for it to reach every process."""
_PAUSE_S = 0.5
"""Pause of a stream after a failure, so that an endpoint that is down is not flooded."""
_WARM_UP_TIMEOUT_S = 5.0
_READY = "ready"


@dataclass(frozen=True)
class ClientShare:
    """The part of a load that one client process puts on the endpoint. `arrivals` is empty for a closed loop."""

    endpoint: Endpoint
    requests: tuple[Mapping[str, Any], ...]
    """Request bodies, used in turn: request i has body i modulo their number."""
    cached: Cached
    first_number: int
    timeout_s: float
    retry_s: float
    streams: tuple[int, ...] = ()
    """Indices of its own streams among `concurrency`. Stream s sends the requests s, s + concurrency, ..."""
    concurrency: int = 0
    num_requests: int | None = None
    duration_s: float | None = None
    arrivals: tuple[tuple[int, float], ...] = ()
    """Number of each request, and the seconds after the start at which it is due."""


def run_clients(shares: Sequence[ClientShare], on_result: OnResult) -> list[float]:
    """Run one client process per share, all from the same moment; `on_result` gets every result as it arrives.

    Returns the processor time of each process over its wall time: its share of a core. No process is left when it returns or
    raises. `on_result` must be quick: meanwhile results wait in the pipe, and clients wait once it is full.

    Raises:
        AriaError: a client process ended before its share was done.
    """
    clients: list[_ClientProcess] = []
    try:
        for _ in shares:
            clients.append(_ClientProcess())
        for client, share in zip(clients, shares, strict=True):
            client.send(share)
        for client in clients:
            client.receive()
        start_s = time.perf_counter() + _START_DELAY_S
        for client in clients:
            client.send(start_s)
        return list(_collect({client.connection: client for client in clients}, on_result))
    finally:
        for client in clients:
            client.stop()


def numbered(body: Mapping[str, Any], number: int, cached: Cached) -> dict[str, Any]:
    """A copy of a body that limits what the endpoint's prefix cache can know of it, by a number that is new each time.

    - "tools": each question starts with the number. The tool list before it can be cached, as in use; the question cannot.
    - "nothing": the system message starts with the number, so at most what the chat template writes before it can be cached.
    - "everything": the body is unchanged, so all of it can be cached from the second time on.
    """
    messages: list[dict[str, Any]] = list(body["messages"])
    if cached == "tools":
        messages = [
            {**message, "content": f"{number}. {message['content']}"} if message["role"] == "user" else message
            for message in messages
        ]
    elif cached == "nothing":
        has_system = bool(messages) and messages[0]["role"] == "system"
        system, turns = (messages[0]["content"], messages[1:]) if has_system else ("", messages)
        messages = [{"role": "system", "content": f"{number}. {system}".strip()}, *turns]
    return {**body, "messages": messages}


class _ClientProcess:
    """Handle of a client process, in the measuring process."""

    def __init__(self) -> None:
        self.connection, theirs = Pipe()
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _COMMAND, str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                process_group=0,
            )
        self.num_results = 0

    def send(self, message: ClientShare | float) -> None:
        """Send its share, or the moment to start."""
        with contextlib.suppress(BrokenPipeError):  # it has ended; the next receive() reports that with its exit code
            self.connection.send(message)

    def receive(self) -> Any:
        """The next message.

        Raises:
            AriaError: the process has ended.
        """
        try:
            message = self.connection.recv()
        except (EOFError, ConnectionResetError) as error:
            self.stop(grace_s=5)
            raise AriaError(
                f"a client process ended early, with code {self.process.returncode} after {self.num_results} answers, so this "
                "load is not measured",
                "run it again, with fewer client processes if the code is -9 (killed, or out of memory)",
            ) from error
        self.num_results += isinstance(message, StreamTiming | RequestFailure)
        return message

    def stop(self, grace_s: float = 0.0) -> None:
        """Kill the process unless it ends by itself within `grace_s` seconds."""
        self.connection.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=grace_s)
        self.process.kill()
        self.process.wait()


def _collect(busy: dict[Connection, _ClientProcess], on_result: OnResult) -> Iterator[float]:
    while busy:
        for connection in wait(list(busy)):
            assert isinstance(connection, Connection)
            message = busy[connection].receive()
            if isinstance(message, float):
                del busy[connection]
                yield message
            else:
                on_result(message)


def main() -> None:
    """Run a client process: receive its share through the pipe whose descriptor is the argument, send results back."""
    with Connection(int(sys.argv[1])) as pipe, contextlib.suppress(EOFError):
        share: ClientShare = pipe.recv()
        asyncio.run(_work(pipe, share))


async def _work(pipe: Connection, share: ClientShare) -> None:
    async with connect(share.endpoint, share.timeout_s, max_connections=None, retry_s=share.retry_s) as client:
        # The first request of a process loads parts of the HTTP library, which takes 40 to 90 ms on a small machine.
        with contextlib.suppress(httpx.HTTPError):
            await client.http.get("models", timeout=_WARM_UP_TIMEOUT_S)
        pipe.send(_READY)
        start_s: float = pipe.recv()
        # No more messages come: from now on the pipe becomes readable only when the measuring process closes it or dies.
        asyncio.get_running_loop().add_reader(pipe.fileno(), os._exit, 1)
        await _until(start_s)
        before_s = time.process_time()
        async with asyncio.TaskGroup() as group:
            turns = _turns(share)
            for _ in share.streams:
                group.create_task(_stream_on(pipe, client, share, turns, start_s))
            for index, due_s in share.arrivals:
                await _until(start_s + due_s)
                group.create_task(_one(pipe, client, share, index, start_s + due_s))
        pipe.send((time.process_time() - before_s) / (time.perf_counter() - start_s))


async def _stream_on(pipe: Connection, client: Client, share: ClientShare, turns: Iterator[int], start_s: float) -> None:
    """Send one request after the other until the numbers or the time run out."""
    for index in turns:
        result = await _one(pipe, client, share, index, None)
        if share.duration_s is not None:
            if isinstance(result, RequestFailure):
                await asyncio.sleep(_PAUSE_S)
            if time.perf_counter() >= start_s + share.duration_s:
                return


async def _one(
    pipe: Connection, client: Client, share: ClientShare, index: int, due_s: float | None
) -> StreamTiming | RequestFailure:
    body = numbered(share.requests[index % len(share.requests)], share.first_number + index, share.cached)
    result = await client.stream(**body, started_s=due_s)
    pipe.send(result)
    return result


def _turns(share: ClientShare) -> Iterator[int]:
    """Numbers of the requests of this process's streams, in ascending order."""
    for first in itertools.count(0, share.concurrency):
        for stream in share.streams:
            if share.num_requests is not None and first + stream >= share.num_requests:
                return
            yield first + stream


async def _until(moment_s: float) -> None:
    await asyncio.sleep(max(0.0, moment_s - time.perf_counter()))
