"""One example request: a sentence of a person, and the calls that are right for it."""

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

REQUEST_PREFIX = "request/"
"""Start of the ids of the dataset's rows that are made of example requests. In the split "test" they are people's own words."""


class ExampleCall(BaseModel):
    """A right call."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1)
    """Name of the tool, as its definition gives it."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """Arguments by parameter."""


class ExampleRequest(BaseModel):
    """A line of a file of example requests."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    request: str = Field(min_length=1)
    """What the person says, word for word."""
    calls: tuple[ExampleCall, ...]
    """The right calls, all in one turn; empty where no tool is to be called."""
    answer: str | None = None
    """The answer where no tool is called; without it, a short harmless one is used."""
    ask: str | None = None
    """Name of the parameter whose value is missing from the request, so that the assistant has to ask for it."""
    tools: tuple[str, ...] | None = None
    """Names of the tools that are listed with the request; without it, all of them."""
    values: dict[str, tuple[Any, ...]] = Field(default_factory=dict)
    """Further values by parameter that may stand in place of the one in the request."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.ask is not None and self.calls:
            raise ValueError("`ask` is for a request without calls, whose value is missing; remove `ask` or the calls")
        if self.answer is not None and self.calls:
            raise ValueError("`answer` is for a request without calls; after a call the answer is made from its result")
        return self
