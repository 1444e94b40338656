"""What the integration tests share."""

import random
import socket

import pytest

PORTS = range(20_000, 32_000)
"""Below the ports that the system gives to outgoing connections (from 32,768) and the fixed ones among them that Ray's
dashboard takes for its metrics (44217 and 44227), above those that Ray gives to workers (10,002 to 19,999)."""


@pytest.fixture(scope="session")
def free_port():
    """A function that gives a port of 127.0.0.1 which nothing uses, another one each time."""
    candidates = iter(random.sample(PORTS, len(PORTS)))

    def pick() -> int:
        for port in candidates:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) != 0:
                    return port
        raise AssertionError(f"no free port from {PORTS.start} to {PORTS.stop}")

    return pick
