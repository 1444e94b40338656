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

logger = logging.getLogger(__name__)


def register() -> None:
    """Have the engine's processes sleep between two looks, for as many seconds as the variable says; without it, nothing."""
    pause_s = float(os.environ.get(PAUSE_VARIABLE) or 0)
    if not pause_s:
        return
    from vllm.distributed.device_communicators import shm_broadcast

    if not hasattr(shm_broadcast, "sched_yield"):
        logger.warning("this vLLM waits in a way that is not known here (tried: 0.29); %s is without effect", PAUSE_VARIABLE)
        return
    shm_broadcast.sched_yield = lambda: time.sleep(pause_s)
