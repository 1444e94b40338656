"""The replica of one engine: Ray Serve LLM's server with a self-check at its start. It ends when its engine ends."""

import asyncio
import logging
import os
from typing import Any

from ray.serve.llm import LLMConfig
from ray.serve.llm.deployment import LLMServer
from ray.serve.llm.openai_api_models import ChatCompletionRequest
from vllm.v1.engine.exceptions import EngineDeadError

from aria_ray import grammar
from aria_ray.errors import ServingError
from aria_ray.serving import self_check

WATCH_S = 1.0
"""Seconds between two looks at the engine."""

logger = logging.getLogger("ray.serve")


class Replica(LLMServer):  # type: ignore[misc]  # Ray is not read by mypy, so the base is Any
    """vLLM's engine with Ray Serve's interface."""

    # Ray Serve LLM's constructor is a coroutine that Serve awaits, which mypy does not allow.
    async def __init__(self, llm_config: LLMConfig, *, with_self_check: bool, **options: Any) -> None:  # type: ignore[misc]
        """Start the engine."""
        self._with_self_check = with_self_check
        await super().__init__(llm_config, **options)

    async def start(self) -> None:
        """Start the engine. Raises ServingError if it fails the self-check."""
        await super().start()
        if self._with_self_check:
            self_check.check(await asyncio.gather(*(self._message(body) for body in self_check.requests())))
        self._watch = asyncio.create_task(self._go_with_engine())

    async def _message(self, body: dict[str, Any]) -> dict[str, Any]:
        """The assistant message that answers a request, joined from its parts where it is streamed."""
        request = ChatCompletionRequest.model_validate({"model": (await self.llm_config()).model_id, **body})
        streamed = grammar.StreamedMessage()
        async for part in await self.chat(request):
            if hasattr(part, "choices"):
                return dict(part.choices[0].message.model_dump())
            if not isinstance(part, list):
                raise ServingError(
                    f"self-check: the engine answered with an error: {str(part)[:300]}", "see engine_kwargs in the Serve config"
                )
            for event in part:
                if not isinstance(event, str):
                    raise ServingError(
                        f"self-check: the engine answered with an error: {str(event)[:300]}",
                        "see engine_kwargs in the Serve config",
                    )
                streamed.add(event)
        return streamed.message()

    async def _go_with_engine(self) -> None:
        """End this process when the engine's process has ended.

        Ray Serve notices that by its health checks only after half a minute, in which every request gets an error. A process
        that ends is replaced at once, and requests wait for its successor.
        """
        while True:
            await asyncio.sleep(WATCH_S)
            try:
                await self.engine.check_health()
            except EngineDeadError:
                logger.error("the engine is dead; this replica ends, so that another takes its place")
                logging.shutdown()
                os._exit(1)
