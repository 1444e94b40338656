"""The client processes: what they send, and that none is left behind or waited for in vain."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from fake_endpoint import Behaviour, fake_endpoint

from aria_ray.errors import AriaError
from aria_ray.validation.load.generator import Load, measure_load
from aria_ray.validation.load.processes import numbered

BODY = {"messages": [{"role": "user", "content": "q"}], "max_tokens": 8}
GOES_ON = Load((BODY,), concurrency=2, duration_s=600)
PARENT = """
import sys
from aria_ray.records import Endpoint
from aria_ray.validation.load.generator import Load, measure_load
load = Load(({"messages": [], "max_tokens": 8},), concurrency=2, duration_s=600)
endpoint = Endpoint(base_url=sys.argv[1], model="fake")
measure_load(endpoint, load, num_processes=2, timeout_s=600, on_result=lambda _: print("up", flush=True))
"""


def clients() -> list[psutil.Process]:
    """The client processes of this one."""
    return [child for child in psutil.Process().children() if "load.processes" in " ".join(child.cmdline())]


def load_until(on_result: Callable[[Any], None]) -> None:
    with fake_endpoint(Behaviour(ttft_s=0.05)) as endpoint:
        measure_load(endpoint, GOES_ON, num_processes=2, timeout_s=30, on_result=on_result)


@pytest.mark.subprocess
def test_a_client_that_dies_is_an_error_and_what_came_before_is_known() -> None:
    seen: list[Any] = []

    def kill_one(result: Any) -> None:
        seen.append(result)
        if len(seen) == 3:
            clients()[0].kill()

    with pytest.raises(AriaError, match=r"a client process ended early, with code -9 after \d+ answers"):
        load_until(kill_one)
    assert len(seen) >= 3
    assert clients() == []


@pytest.mark.subprocess
@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_no_client_is_left_after_an_interrupt_or_an_error(error: type[BaseException]) -> None:
    running: list[int] = []

    def fail(_result: Any) -> None:
        running.append(len(clients()))
        raise error

    with pytest.raises(error):
        load_until(fail)
    assert running == [2]
    assert clients() == []


@pytest.mark.subprocess
def test_no_client_is_left_after_a_load() -> None:
    with fake_endpoint(Behaviour()) as endpoint:
        measure_load(endpoint, Load((BODY,), concurrency=2, num_requests=4), num_processes=2, timeout_s=30)
    assert clients() == []


@pytest.mark.subprocess
def test_no_client_outlives_a_measuring_process_that_is_killed() -> None:
    """Not even one that waits for an answer and has nothing to send."""
    with fake_endpoint(Behaviour(hang_at=range(2, 10**9))) as endpoint:
        command = [sys.executable, "-c", PARENT, endpoint.base_url]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
            assert parent.stdout.readline() == "up\n"
            children = psutil.Process(parent.pid).children()
            parent.kill()
        assert len(children) == 2
        _, alive = psutil.wait_procs(children, timeout=60)
    assert alive == []


@pytest.mark.subprocess
def test_a_client_process_is_light() -> None:
    code = (
        "import sys, aria_ray.validation.load.processes;"
        "print([name for name in ('torch', 'ray', 'transformers', 'vllm', 'scipy', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3]
    )
    assert done.stdout.strip() == "[]"


def test_a_prompt_of_which_the_cache_may_know_the_tools_differs_in_its_question() -> None:
    body = {"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}], "tools": [1], "max_tokens": 8}
    assert numbered(body, 7, "tools") == {
        "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "7. q"}],
        "tools": [1],
        "max_tokens": 8,
    }


@pytest.mark.parametrize(("messages", "front"), [([], "7."), ([{"role": "system", "content": "s"}], "7. s")])
def test_a_prompt_of_which_the_cache_may_know_nothing_differs_at_its_front(messages: list[Any], front: str) -> None:
    question = {"role": "user", "content": "q"}
    sent = numbered({"messages": [*messages, question]}, 7, "nothing")
    assert sent["messages"] == [{"role": "system", "content": front}, question]


def test_a_prompt_of_which_the_cache_may_know_everything_stays_as_it_is() -> None:
    assert numbered(BODY, 7, "everything") == numbered(BODY, 8, "everything") == BODY


@pytest.mark.subprocess
@pytest.mark.parametrize(("cached", "different"), [("tools", 4), ("nothing", 4), ("everything", 1)])
def test_what_is_sent_is_so(cached: Any, different: int) -> None:
    received: list[dict[str, Any]] = []
    load = Load((BODY,), concurrency=2, num_requests=4, cached=cached)
    with fake_endpoint(Behaviour(), received) as endpoint:
        measure_load(endpoint, load, num_processes=2, timeout_s=30)
    assert len(received) == 4
    assert len({str(body["messages"]) for body in received}) == different
