"""Tools that have a schema and no implementation: a declared, deterministic backend answers in their place.

The backend is part of the row (`tool_names`), so whoever has the row can run its calls and get the same results.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from aria_ray.tools.values import ToolError

MAX_FOUND = 9
MAX_LISTED = 3


class Backend(BaseModel):
    """What a simulated tool answers, as a function of its name and arguments alone.

    reference: a new reference such as FL-4821; state: one of `states`; found: how many, and the first reference; listed: up
    to three references; fixed: `text`; recorded: what `results` has for just these arguments.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["reference", "state", "found", "listed", "fixed", "recorded"]
    prefix: str = ""
    states: tuple[str, ...] = ()
    text: str = ""
    reference_parameter: str | None = None
    """The parameter that names something which must exist; see `reference_exists`."""
    results: dict[str, str] = Field(default_factory=dict)
    """Recorded results by arguments in canonical JSON (`canonical`)."""


def canonical(arguments: Mapping[str, Any]) -> str:
    """Arguments as JSON that does not depend on their order."""
    return json.dumps(arguments, sort_keys=True, ensure_ascii=False)


def simulate(backend: Backend, name: str, arguments: Mapping[str, Any]) -> str:
    """The result of a call that fits the tool's schema; `name` and parameters are the real ones, not those of a masked list.

    Raises:
        ToolError: the call names something that does not exist, or nothing is recorded for its arguments.
    """
    if backend.reference_parameter is not None:
        reference = str(arguments[backend.reference_parameter])
        if not reference_exists(reference):
            raise ToolError(f"there is no {reference}")
    given = canonical(arguments)
    if backend.kind == "recorded":
        if given not in backend.results:
            raise ToolError(f"nothing is recorded for {given}")
        return backend.results[given]
    draw = int.from_bytes(hashlib.sha256(f"{name}:{given}".encode()).digest()[:8], "big")
    limit = arguments.get("limit")
    return _ANSWERS[backend.kind](backend, draw, limit if isinstance(limit, int) and limit > 0 else MAX_FOUND)


def reference_exists(reference: str) -> bool:
    """Whether a simulated tool knows a reference: three out of four, by hash, so that nothing in its text tells."""
    return hashlib.sha256(f"exists:{reference}".encode()).digest()[0] % 4 != 0


def _reference(prefix: str, draw: int) -> str:
    number = draw % 9000
    while not reference_exists(f"{prefix}-{1000 + number}"):
        number = (number + 1) % 9000
    return f"{prefix}-{1000 + number}"


_ANSWERS: dict[str, Callable[[Backend, int, int], str]] = {
    "reference": lambda backend, draw, _limit: _reference(backend.prefix, draw),
    "state": lambda backend, draw, _limit: backend.states[draw % len(backend.states)],
    "found": lambda backend, draw, limit: f"{1 + draw % min(MAX_FOUND, limit)}, first {_reference(backend.prefix, draw)}",
    "listed": lambda backend, draw, limit: ", ".join(
        _reference(backend.prefix, draw >> 8 * shift) for shift in range(1 + draw % min(MAX_LISTED, limit))
    ),
    "fixed": lambda backend, _draw, _limit: backend.text,
}
"""Results by kind, from a number drawn by name and arguments, and the most to return."""
