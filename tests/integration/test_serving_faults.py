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

pytestmark = [pytest.mark.ray, pytest.mark.vllm]

AT_ONCE = 2
TOKENS = 96
TIMEOUT_S = 240
TITLES = ("ServeController", "ProxyActor", "ServeReplica:aria:Ingress", "VLLM::EngineCore")
CUT_BY_HTTP = ("RemoteProtocolError", "ReadError", "stream ended early")
CUT_WITH_A_WORD = ("error in stream", "stream ended early")
NONE_WHEN_IDLE = {"min": 0, "max": 1, "upscale_delay_s": 0, "downscale_delay_s": 5}
Outcome = Reply | StreamTiming | RequestFailure


@pytest.fixture(scope="module")
def served(model: Path, tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]) -> Iterator[Served]:
    replicas = {"min": 1, "max": 2, "target_ongoing_requests": 2 * AT_ONCE + 2, "upscale_delay_s": 1, "downscale_delay_s": 3}
    folder = tmp_path_factory.mktemp("driver")
    with serving(model, folder, free_port(), free_port(), replicas=replicas, self_check=False) as endpoint:
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


def under_load(
    served: Served, strike: Callable[[], Awaitable[None]], plain: int = AT_ONCE, streamed: int = AT_ONCE
) -> tuple[list[Outcome], list[Outcome]]:
    """The outcomes of plain and of streamed requests, from before `strike` until three more were answered after it."""

    async def scenario() -> tuple[list[Outcome], list[Outcome]]:
        async with connect(served.endpoint, 120, plain + streamed + 1, retry_s=TIMEOUT_S) as client:
            over = asyncio.Event()
            running = asyncio.gather(load(client, False, plain, over.is_set), load(client, True, streamed, over.is_set))
            await asyncio.sleep(2)
            await strike()
            await load(client, False, 1, iter([False] * 3 + [True]).__next__)
            over.set()
            outcomes = await running
            return outcomes[0], outcomes[1]

    return asyncio.run(scenario())


def failures(outcomes: list[Outcome]) -> list[str]:
    return [each.reason for each in outcomes if isinstance(each, RequestFailure)]


def kill(served: Served, title: str) -> Callable[[], Awaitable[None]]:
    async def strike() -> None:
        (victim, *_) = served.processes(title)
        victim.kill()

    return strike


def wait_for_one_of_each(served: Served) -> None:
    """One controller, one proxy, one ingress, one engine: no process of a killed part stays."""
    deadline = time.monotonic() + TIMEOUT_S
    while (counts := [len(served.processes(title)) for title in TITLES]) != [1] * len(TITLES):
        assert time.monotonic() < deadline, counts
        time.sleep(1)


@pytest.mark.parametrize(
    "title",
    ["VLLM::EngineCore", "ServeReplica:aria:Replica", "ServeReplica:aria:Ingress", "ServeController", "ProxyActor"],
)
def test_no_request_is_lost_when_a_part_is_killed(served: Served, title: str) -> None:
    """Whichever process goes, each plain request is answered in the end, and so is each stream that had not begun.

    One that had begun ends with an error event, or, where a process before the engine is killed, without HTTP's own end.
    """
    plain, streamed = under_load(served, kill(served, title))
    assert len(plain) >= AT_ONCE
    assert not failures(plain)
    assert any(isinstance(each, StreamTiming) for each in streamed)
    cut = failures(streamed)
    assert len(cut) <= AT_ONCE
    told = CUT_BY_HTTP if title in ("ServeReplica:aria:Ingress", "ProxyActor") else CUT_WITH_A_WORD
    assert all(reason.startswith(told) for reason in cut), cut
    wait_for_one_of_each(served)


def test_a_replica_comes_and_goes_with_the_load(served: Served) -> None:
    """Twice the requests that one engine is to have bring a second; when they end, it goes, and nothing is lost."""

    async def second_engine() -> None:
        deadline = time.monotonic() + TIMEOUT_S
        while len(served.processes("VLLM::EngineCore")) < 2:
            assert time.monotonic() < deadline, "no second engine came"
            await asyncio.sleep(1)

    outcomes, _ = under_load(served, second_engine, plain=8 * AT_ONCE, streamed=0)
    deadline = time.monotonic() + TIMEOUT_S
    while len(served.processes("VLLM::EngineCore")) > 1:
        assert time.monotonic() < deadline, "the second engine stayed"
        time.sleep(1)
    assert not failures(outcomes)
    assert served.chat().status_code == 200


@pytest.mark.parametrize("surge_percent", [100, 0], ids=["new engine first", "old engine first"])
def test_a_new_version_is_deployed_under_load(served: Served, surge_percent: int) -> None:
    """By `serve deploy`: no request is lost, plain or streamed, and none has to be sent again."""
    engines_before = {process.pid for process in served.processes("VLLM::EngineCore")}

    async def deploy_again() -> None:
        served.deploy_again(replicas=NONE_WHEN_IDLE | {"surge_percent": surge_percent})
        deadline = time.monotonic() + TIMEOUT_S
        while served.state != "RUNNING" or engines_before & {each.pid for each in served.processes("VLLM::EngineCore")}:
            assert time.monotonic() < deadline, served.log.read_text()
            await asyncio.sleep(1)

    plain, streamed = under_load(served, deploy_again)
    assert not failures(plain) + failures(streamed)
    assert not any(each.retries for each in plain + streamed if not isinstance(each, RequestFailure))
    assert engines_before.isdisjoint(process.pid for process in served.processes("VLLM::EngineCore"))


def test_the_last_engine_goes_when_nobody_asks_and_the_next_request_brings_one(served: Served) -> None:
    """No engine at least, five seconds without requests. Deploying what is deployed already changes nothing."""
    served.deploy_again(replicas=NONE_WHEN_IDLE | {"surge_percent": 0})
    deadline = time.monotonic() + TIMEOUT_S
    while served.processes("VLLM::EngineCore"):
        assert time.monotonic() < deadline, "the last engine stayed"
        time.sleep(1)
    assert served.chat().status_code == 200
