"""Keeps Ray Serve LLM from starting a process that only looks whether the model must be downloaded.

Ours is always a directory. That process would import vLLM first: about 20 s of a CPU engine's start.
"""

from ray.llm._internal.common.callbacks.base import CallbackBase


class LocalModel(CallbackBase):  # type: ignore[misc]  # Ray is not read by mypy, so the base is Any
    """Callback of an engine whose model is a directory on its node."""

    async def on_before_node_init(self) -> None:
        """Skip the download step."""
        self.ctx.run_init_node = False
