"""Private parts of vLLM and Ray Serve LLM that serving relies on. Any release may move them; a test says so then.

Every process of vLLM imports this module, by the entry point `vllm.general_plugins` in pyproject.toml. So Ray and vLLM are
imported only inside the functions that need them.
"""

import contextlib
import logging
import os
import time
from typing import Any

SEEN_WITH = {"vllm": "0.29.0", "ray": "2.60.0"}

PAUSE_VARIABLE = "ARIA_ENGINE_WAIT_S"
PAUSE_S = 0.0002
MAX_PAUSE_S = 0.1
"""More than a step takes. A longer pause would itself be what answers wait for."""

logger = logging.getLogger(__name__)


def read_pause_s(text: str) -> float:
    """The pause in seconds that a value of ARIA_ENGINE_WAIT_S asks for; 0 for an empty one.

    Raises:
        ValueError: the value is not a number from 0 to `MAX_PAUSE_S`.
    """
    try:
        pause_s = float(text or 0)
    except ValueError:
        pause_s = -1.0
    if not 0 <= pause_s <= MAX_PAUSE_S:
        raise ValueError(f"{PAUSE_VARIABLE} ({text}) must be seconds from 0 to {MAX_PAUSE_S:g}; {PAUSE_S} is what was measured")
    return pause_s


def sleep_between_polls() -> None:
    """Have a vLLM process sleep between two polls of shared memory, for ARIA_ENGINE_WAIT_S seconds; without it, change nothing.

    vLLM's scheduler waits for its worker by polling shared memory, with a `sched_yield` between two polls. That takes up to a
    whole core while there are requests, and on a CPU engine the matrix products need that core. A pause of 0.2 ms is next to
    nothing beside a step of 50 ms. The Serve application sets the variable for CPU engines only.

    The name `sched_yield` in `vllm.distributed.device_communicators.shm_broadcast` is replaced (seen with vllm 0.29.0), as vLLM
    has no setting for it. Where the name is gone a warning is logged: an exception here would end every process of vLLM.
    """
    try:
        pause_s = read_pause_s(os.environ.get(PAUSE_VARIABLE, ""))
    except ValueError as error:
        logger.warning("%s; it is ignored", error)
        return
    if not pause_s:
        return
    from vllm.distributed.device_communicators import shm_broadcast

    if not hasattr(shm_broadcast, "sched_yield"):
        logger.warning("this vLLM has no shm_broadcast.sched_yield (%s has); %s is ignored", SEEN_WITH["vllm"], PAUSE_VARIABLE)
        return
    shm_broadcast.sched_yield = lambda: time.sleep(pause_s)


def skip_download(**options: Any) -> Any:
    """The engine callback that keeps Ray Serve LLM from looking whether the model must be downloaded.

    Our models are directories on the node. Ray would start a process for that, which imports vLLM first: about 20 s of a CPU
    engine's start. Ray calls what `callback_config.callback_class` names by its dotted path. The base class is
    `ray.llm._internal.common.callbacks.base.CallbackBase`, the switch is `run_init_node` of its `ctx` (seen with ray 2.60.0);
    Ray exports neither.
    """
    from ray.llm._internal.common.callbacks.base import CallbackBase

    callback = CallbackBase(**options)
    callback.ctx.run_init_node = False
    return callback


def end_serve(timeout_s: float = 30.0) -> None:
    """`serve.shutdown`, without the line that Ray prints for it in the driver's terminal.

    `serve.shutdown` waits for the task `graceful_shutdown` of the controller. At its end the controller kills itself, so the
    task always fails, and Ray prints "Task ServeController.graceful_shutdown failed. There are infinite retries remaining".
    Here the same task is asked for without retries, for which nothing is printed. The controller's handle is private:
    `_controller` of the client that `ray.serve.context._get_global_client` returns (seen with ray 2.60.0).
    """
    import ray
    from ray import serve
    from ray.exceptions import GetTimeoutError, RayActorError
    from ray.serve.context import _get_global_client

    client = _get_global_client(raise_if_no_controller_running=False)
    if client is None:  # Serve does not run
        return
    # Its death is the answer. A controller that does not end in time is left to `serve.shutdown`, which logs it.
    with contextlib.suppress(RayActorError, GetTimeoutError):
        ray.get(client._controller.graceful_shutdown.options(max_task_retries=0).remote(), timeout=timeout_s)
    serve.shutdown()  # forgets the client of the controller that is gone
