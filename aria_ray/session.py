"""Ray for a run, and the environment of this process. Light to import: Ray reads some of the variables when it is imported."""

import os
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aria_ray.errors import AriaError

PROXY_READY_S = "60"
"""Seconds that Ray Serve waits for its proxy. After its own 5 s it kills a proxy that two busy cores have not started yet."""


def prepare_environment() -> None:
    """Set what the libraries read from the environment. To be called before Ray or transformers is imported."""
    # The terminal shows the run's progress. The libraries' bars and their notes on future versions stay off it.
    warnings.simplefilter("ignore", FutureWarning)
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TQDM_DISABLE", "1")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S", PROXY_READY_S)
    if not on_cluster():
        # A Ray that this process starts asks its clients for a token, kept in the user's home: whoever reaches a Ray without
        # one can run code on it.
        os.environ.setdefault("RAY_AUTH_MODE", "token")


def on_cluster() -> bool:
    """Whether RAY_ADDRESS names a cluster to use; `ray job submit` sets it."""
    return os.environ.get("RAY_ADDRESS", "local") != "local"


@contextmanager
def ray_session() -> Iterator[None]:
    """Ray for the block: the cluster of RAY_ADDRESS, else one that is started here and stopped at the end.

    Raises:
        AriaError: no cluster answers at RAY_ADDRESS.
    """
    import ray  # takes a second, and reads the environment: after `prepare_environment`

    options: dict[str, Any] = {} if on_cluster() else {"include_dashboard": False}
    address = os.environ.get("RAY_ADDRESS", "local")
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR", **options)
    except ConnectionError as error:
        reason = str(error).strip().splitlines()[0]
        problem = f"RAY_ADDRESS={address} must be a running cluster ({reason})"
        raise AriaError(problem, "unset it to run without one") from None
    # Ray ends the process on SIGTERM, which batch systems send. As Ctrl-C it lets the endpoint come down first.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        ray.shutdown()
