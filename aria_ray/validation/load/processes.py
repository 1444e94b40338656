"""The processes that put load on an endpoint: each has its own event loop, HTTP client and share of the requests.

One Python process takes in 8,000 to 20,000 chunks a second (measured, on a small machine); what it cannot keep up with would
count as the endpoint's slowness. So the load is dealt out to several, and each says how much of a core it took.

A client process is a fresh interpreter with one pipe to the process that measures. multiprocessing's own spawn would import the
caller's main module into it too, and with it torch, where that is a benchmark. It is outside the terminal's process group, so
Ctrl-C is for the measuring process alone, which then ends it; and it ends by itself as soon as the pipe is closed.
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
OnResult = Callable[[StreamTiming | RequestFailure], None]

_COMMAND = "from aria_ray.validation.load.processes import main; main()"
_START_DELAY_S = 0.1
"""From the word to start to the start: every process has got it by then."""
_PAUSE_S = 0.5
"""A stream that keeps going waits this long after a failure: an endpoint that is down is not hammered."""
_WARM_UP_TIMEOUT_S = 5.0
_READY = "ready"


@dataclass(frozen=True)
class ClientShare:
    """What one client process does. `arrivals` is empty for a closed loop."""

    endpoint: Endpoint
    requests: tuple[Mapping[str, Any], ...]
    """Bodies, taken in turn: request number i has body i modulo their number."""
    cached: Cached
    first_number: int
    timeout_s: float
    retry_s: float
    streams: tuple[int, ...] = ()
    """Which of the `concurrency` streams are its own. Stream s has the requests s, s + concurrency, ..."""
    concurrency: int = 0
    num_requests: int | None = None
    duration_s: float | None = None
    arrivals: tuple[tuple[int, float], ...] = ()
    """(number of the request, seconds from the start at which it is due)."""


def run_clients(shares: Sequence[ClientShare], on_result: OnResult) -> list[float]:
    """One client process per share, all started at one moment; every result goes to `on_result` as it comes.

    Returns the processor time of each process over its wall time: its share of one core. No process is left when it returns or
    raises. Results wait in the pipe, and in the end the client, until `on_result` has returned: it is to be quick.

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
    """A body of which the endpoint's prefix cache can know no more than `cached` says.

    "tools": each question opens with the number, so that what stands before it is known, as in use, and the question is not.
    "nothing": a system message opens with it, the first thing in the prompt but for what the chat template writes before.
    "everything": the body as it is, so that all of it is known from its second time on.
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
    """A client process as the measuring one sees it."""

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
        """Tell it its share, or when to start."""
        with contextlib.suppress(BrokenPipeError):  # it has ended, which the next receive() says better
            self.connection.send(message)

    def receive(self) -> Any:
        """The next message. Raises AriaError if the process has ended."""
        try:
            message = self.connection.recv()
        except (EOFError, ConnectionResetError) as error:
            self.stop(grace_s=5)
            raise AriaError(
                f"a client process ended early, with code {self.process.returncode} after {self.num_results} answers, so this "
                "load is not measured; run it again, with fewer client processes if the code is -9 (killed, or out of memory)"
            ) from error
        self.num_results += isinstance(message, StreamTiming | RequestFailure)
        return message

    def stop(self, grace_s: float = 0.0) -> None:
        """End the process, if it does not end by itself within `grace_s`."""
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
    """A client process. Its share comes over the pipe whose descriptor is the argument; results go back the same way."""
    with Connection(int(sys.argv[1])) as pipe, contextlib.suppress(EOFError):
        share: ClientShare = pipe.recv()
        asyncio.run(_work(pipe, share))


async def _work(pipe: Connection, share: ClientShare) -> None:
    async with connect(share.endpoint, share.timeout_s, max_connections=None, retry_s=share.retry_s) as client:
        # The first request of a process loads the HTTP library's inner parts, 40 to 90 ms on a small machine.
        with contextlib.suppress(httpx.HTTPError):
            await client.http.get("models", timeout=_WARM_UP_TIMEOUT_S)
        pipe.send(_READY)
        start_s: float = pipe.recv()
        # Nothing more is sent this way: the pipe becomes readable when the measuring process closes it, or dies.
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
    """One request after the other until the turns or the time are over."""
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
    """Numbers of the requests of this process's streams, ascending."""
    for first in itertools.count(0, share.concurrency):
        for stream in share.streams:
            if share.num_requests is not None and first + stream >= share.num_requests:
                return
            yield first + stream


async def _until(moment_s: float) -> None:
    await asyncio.sleep(max(0.0, moment_s - time.perf_counter()))
