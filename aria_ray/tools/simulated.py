"""Simulated tools: a schema without an implementation, answered by a deterministic backend.

The backend is stored in the row (`tool_names`), so whoever has the row can run its calls and get the same results.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from aria_ray.tools.values import ToolError

MAX_FOUND = 9
"""Most hits that a search reports."""
MAX_LISTED = 3
"""Most references that a list shows."""


class Backend(BaseModel):
    """How a simulated tool answers. The answer depends on the tool's real name and the arguments alone.

    By `kind`: `reference` gives a new reference such as FL-4821; `state` one of `states`; `found` the number of hits and the
    first reference; `listed` up to three references; `fixed` the `text`; `recorded` the entry of `results`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["reference", "state", "found", "listed", "fixed", "recorded"]
    prefix: str = ""
    states: tuple[str, ...] = ()
    text: str = ""
    reference_parameter: str | None = None
    """Parameter that holds a reference to something that must exist (`reference_exists`)."""
    results: dict[str, str | tuple[str, ...]] = Field(default_factory=dict)
    """Recorded results by arguments in canonical JSON (`canonical`): one, or several in the order of the calls."""


def canonical(arguments: Mapping[str, Any]) -> str:
    """Canonical JSON of arguments: the same for any order of keys."""
    return json.dumps(arguments, sort_keys=True, ensure_ascii=False)


def simulate(backend: Backend, name: str, arguments: Mapping[str, Any], earlier: int = 0) -> str:
    """Result of a call whose arguments fit the tool's schema. `name` and `arguments` use real names, not masked ones.

    `earlier` is how often the same call was made before: it chooses among several recorded results, and the last one stays.

    Raises:
        ToolError: a reference in the arguments does not exist, or no result is recorded for them.
    """
    if backend.reference_parameter is not None:
        reference = str(arguments[backend.reference_parameter])
        if not reference_exists(reference):
            raise ToolError(f"there is no {reference}")
    given = canonical(arguments)
    if backend.kind == "recorded":
        if given not in backend.results:
            raise ToolError(f"nothing is recorded for {given}")
        recorded = backend.results[given]
        return recorded if isinstance(recorded, str) else recorded[min(earlier, len(recorded) - 1)]
    draw = int.from_bytes(hashlib.sha256(f"{name}:{given}".encode()).digest()[:8], "big")
    limit = arguments.get("limit")
    return _ANSWERS[backend.kind](backend, draw, limit if isinstance(limit, int) and limit > 0 else MAX_FOUND)


def reference_exists(reference: str) -> bool:
    """Whether a reference exists for simulated tools: three of four do, by hash, so its text does not give it away."""
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
"""Result by kind of backend, from the backend, a number hashed from name and arguments, and the limit on entries."""
