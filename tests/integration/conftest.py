"""What the integration tests share."""

import random
import socket
from pathlib import Path

import pytest

from aria_ray.config.schema import ModelConfig
from aria_ray.training.base import prepare_base
from aria_ray.training.model import load_model, load_tokenizer

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


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the tiny random model, as training leaves one."""
    base = prepare_base(ModelConfig(source="random:tiny"))
    target = tmp_path_factory.mktemp("model")
    tokenizer = load_tokenizer(base)
    load_model(base, tokenizer, "float32").save_pretrained(target)
    tokenizer.save_pretrained(target)
    return target
