"""What clients see when parts of the endpoint are killed under load, and how it scales and is replaced without losing any.

The load is aria's own client, which the validation uses: it sends a request again while nothing of an answer has come.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from served import QUESTION, Served, serving

from aria_ray.validation.client import Client, Reply, RequestFailure, StreamTiming, connect

pytestmark = pytest.mark.integration

AT_ONCE = 4
TOKENS = 96
TIMEOUT_S = 240
Outcome = Reply | StreamTiming | RequestFailure


@pytest.fixture(scope="module")
def served(model: Path, tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]) -> Iterator[Served]:
    replicas = {"min": 1, "max": 2, "target_ongoing_requests": AT_ONCE + 2, "upscale_delay_s": 1, "downscale_delay_s": 3}
    with serving(model, tmp_path_factory.mktemp("driver"), free_port(), replicas=replicas) as endpoint:
        yield endpoint


async def load(client: Client, streamed: bool, at_once: int, until: Callable[[], bool]) -> list[Outcome]:
    """Requests, `at_once` in flight, until a condition holds; then those in flight are let finish."""
    outcomes: list[Outcome] = []

    async def go_on() -> None:
        while not until():
            ask = client.stream if streamed else client.chat
            outcomes.append(await ask(QUESTION, max_tokens=TOKENS, ignore_eos=True, temperature=0))

    await asyncio.gather(*(go_on() for _ in range(at_once)))
    return outcomes


def under_load(served: Served, streamed: bool, strike: Callable[[], Awaitable[None]], at_once: int = AT_ONCE) -> list[Outcome]:
    """The outcomes of a load that begins before `strike` and goes on until it is over and ten more requests were answered."""

    async def scenario() -> list[Outcome]:
        async with connect(served.endpoint, 120, at_once + 1, retry_s=TIMEOUT_S) as client:
            over = asyncio.Event()
            running = asyncio.create_task(load(client, streamed, at_once, over.is_set))
            await asyncio.sleep(2)
            await strike()
            await load(client, streamed, 1, iter([False] * 3 + [True]).__next__)
            over.set()
            return await running

    return asyncio.run(scenario())


def kill(served: Served, title: str) -> Callable[[], Awaitable[None]]:
    async def strike() -> None:
        (victim, *_) = served.processes(title)
        victim.kill()

    return strike


@pytest.mark.parametrize(
    "title", ["VLLM::EngineCore", "ServeReplica:aria:Replica", "ServeReplica:aria:Ingress", "ServeController"]
)
def test_no_request_is_lost_when_a_part_is_killed(served: Served, title: str) -> None:
    """Plain requests: whichever process goes, each is answered in the end."""
    outcomes = under_load(served, False, kill(served, title))
    assert len(outcomes) >= AT_ONCE
    assert not [each.reason for each in outcomes if isinstance(each, RequestFailure)]


@pytest.mark.parametrize("title", ["VLLM::EngineCore", "ServeReplica:aria:Replica"])
def test_only_streams_that_had_begun_are_cut_and_they_say_so(served: Served, title: str) -> None:
    outcomes = under_load(served, True, kill(served, title))
    failures = [each.reason for each in outcomes if isinstance(each, RequestFailure)]
    assert len(failures) <= AT_ONCE
    assert all("error in stream" in reason for reason in failures), failures
    assert any(isinstance(each, StreamTiming) for each in outcomes)


def test_no_process_of_a_killed_part_stays(served: Served) -> None:
    """After all of this: one controller, one ingress, one engine."""
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        counts = [
            len(served.processes(title)) for title in ("ServeController", "ServeReplica:aria:Ingress", "VLLM::EngineCore")
        ]
        if counts == [1, 1, 1]:
            return
        assert time.monotonic() < deadline, counts
        time.sleep(1)


def test_a_replica_comes_and_goes_with_the_load(served: Served) -> None:
    """Twice the requests that one engine is to have bring a second; when they end, it goes, and nothing is lost."""

    async def second_engine() -> None:
        deadline = time.monotonic() + TIMEOUT_S
        while len(served.processes("VLLM::EngineCore")) < 2:
            assert time.monotonic() < deadline, "no second engine came"
            await asyncio.sleep(1)

    outcomes = under_load(served, False, second_engine, at_once=4 * AT_ONCE)
    deadline = time.monotonic() + TIMEOUT_S
    while len(served.processes("VLLM::EngineCore")) > 1:
        assert time.monotonic() < deadline, "the second engine stayed"
        time.sleep(1)
    assert not [each.reason for each in outcomes if isinstance(each, RequestFailure)]
    assert served.chat().status_code == 200
