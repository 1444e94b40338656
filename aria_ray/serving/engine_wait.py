"""How the processes of a vLLM engine wait for each other on a machine of few cores: asleep.

In vLLM 0.29 the process that schedules waits for the one that computes by looking at shared memory again and again, giving up
its turn (`sched_yield`) in between. That takes up to a whole core while there are requests, which the matrix products want. A
pause of 0.2 ms between two looks costs a step of 50 ms or more next to nothing.

Every process of vLLM calls `register` when it starts (entry point `vllm.general_plugins` in pyproject.toml). Nothing happens
unless the Serve application has set the variable, which it does for engines on processors; `vllm serve` started by hand is left
as it is.
"""

import logging
import os
import time

PAUSE_VARIABLE = "ARIA_ENGINE_WAIT_S"
PAUSE_S = 0.0002

MAX_PAUSE_S = 0.1
"""More than a step takes: a longer pause would be all that answers wait for."""

logger = logging.getLogger(__name__)


def read_pause_s(text: str) -> float:
    """The seconds that a value of the variable says; 0 for none. Raises ValueError for what is no number of that range."""
    try:
        pause_s = float(text or 0)
    except ValueError:
        pause_s = -1.0
    if not 0 <= pause_s <= MAX_PAUSE_S:
        raise ValueError(f"{PAUSE_VARIABLE} ({text}) must be seconds from 0 to {MAX_PAUSE_S:g}; {PAUSE_S} is what was tried")
    return pause_s


def register() -> None:
    """Have the engine's processes sleep between two looks, for as many seconds as the variable says; without it, nothing."""
    try:
        pause_s = read_pause_s(os.environ.get(PAUSE_VARIABLE, ""))
    except ValueError as error:  # an exception here would end every process of vLLM
        logger.warning("%s; it is without effect", error)
        return
    if not pause_s:
        return
    from vllm.distributed.device_communicators import shm_broadcast

    if not hasattr(shm_broadcast, "sched_yield"):
        logger.warning("this vLLM waits in a way that is not known here (tried: 0.29); %s is without effect", PAUSE_VARIABLE)
        return
    shm_broadcast.sched_yield = lambda: time.sleep(pause_s)
