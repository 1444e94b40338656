"""What the integration tests share."""

import random
import socket
from pathlib import Path

import pytest
import torch

from aria_ray.config.schema import ModelConfig
from aria_ray.serving import self_check
from aria_ray.training.base_model import prepare_base
from aria_ray.training.model import load_model, load_tokenizer

PORTS = range(20_000, 32_000)
"""Below the ports that the system gives to outgoing connections (from 32,768) and the fixed ones among them that Ray's
dashboard takes for its metrics (44217 and 44227), above those that Ray gives to workers (10,002 to 19,999)."""
DRILL_STEPS, DRILLED_LOSS = 300, 0.02


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


@pytest.fixture(scope="session")
def drilled_model(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model after it has learnt the two answers of the self-check by heart, and nothing else."""
    tokenizer = load_tokenizer(model)
    drilled = load_model(model, tokenizer, "float32").train()
    replies = (
        {
            "reasoning_content": "ask: percentage; function: percent_of; args: 15, 80",
            "content": "",
            "tool_calls": [{"type": "function", "function": {"name": "percent_of", "arguments": {"percent": 15, "value": 80}}}],
        },
        {"reasoning_content": "ask: opposite; function: none; reason: no tool needed", "content": "Cold."},
    )
    batch = []
    for body, reply in zip(self_check.requests()[::2], replies, strict=True):
        messages = [*body["messages"], {"role": "assistant", **reply}]
        prompt = tokenizer.apply_chat_template(messages[:1], tools=body["tools"], tokenize=False, add_generation_prompt=True)
        text = tokenizer.apply_chat_template(messages, tools=body["tools"], tokenize=False).removesuffix("\n")
        num_prompt = len(tokenizer.encode(prompt, add_special_tokens=False))
        ids = torch.tensor([tokenizer.encode(text, add_special_tokens=False)])
        batch.append((ids, torch.where(torch.arange(ids.shape[1]) < num_prompt, -100, ids)))
    optimizer = torch.optim.AdamW(drilled.parameters(), lr=3e-3)
    for _ in range(DRILL_STEPS):
        losses = [drilled(input_ids=ids, labels=labels).loss for ids, labels in batch]
        torch.stack(losses).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        if max(losses).item() < DRILLED_LOSS:
            break
    assert max(losses).item() < DRILLED_LOSS
    target = tmp_path_factory.mktemp("drilled")
    drilled.save_pretrained(target)
    tokenizer.save_pretrained(target)
    return target
