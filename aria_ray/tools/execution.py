"""The built-in tools, and the execution of tools: built-in ones, the user's functions, and simulated ones.

A failed call is a result, not an exception. No text is ever evaluated as code.
"""

import asyncio
import functools
import inspect
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from aria_ray.grammar import Call, ToolDefinition
from aria_ray.tools import conversion, math, reasoning, text
from aria_ray.tools.modules import find_function
from aria_ray.tools.results import result_text
from aria_ray.tools.schema import schema_problem
from aria_ray.tools.signatures import argument_model, given_values
from aria_ray.tools.simulated import Backend, simulate
from aria_ray.tools.values import ToolError, plain

Tool = Callable[..., Any]

_FUNCTIONS: tuple[Tool, ...] = (
    math.percent_of,
    math.percent_change,
    math.divide,
    math.subtract,
    math.remainder,
    math.multiply,
    math.power,
    math.square_root,
    math.factorial,
    math.round_number,
    math.add_fractions,
    math.compound_interest,
    math.add_numbers,
    math.average,
    math.median,
    math.standard_deviation,
    math.gcd,
    math.lcm,
    math.is_prime,
    math.prime_factors,
    math.days_between,
    math.add_days,
    text.count_words,
    text.count_characters,
    text.count_letter,
    text.reverse_text,
    text.change_case,
    text.replace_text,
    text.sort_words,
    text.slugify,
    text.first_words,
    text.extract_pattern,
    text.extract_numbers,
    text.encode_base64,
    text.decode_base64,
    text.url_encode,
    conversion.convert_units,
    conversion.convert_currency,
    conversion.number_to_base,
    conversion.base_to_number,
    conversion.number_to_roman,
    conversion.roman_to_number,
    conversion.convert_time_zone,
    reasoning.compare_numbers,
    reasoning.filter_above,
    reasoning.sort_numbers,
    reasoning.highest,
    reasoning.lowest,
    reasoning.rank,
    reasoning.sum_where,
    reasoning.end_time,
    reasoning.weekday,
    reasoning.earliest_date,
    reasoning.latest_date,
    reasoning.overlaps,
    reasoning.fits_schedule,
    reasoning.free_minutes,
)

ERROR_PREFIX = "error: "
"""Start of the text of every failed call."""
TOOLS: dict[str, Tool] = {function.__name__: function for function in _FUNCTIONS}
"""The built-in tools by name."""


@dataclass(frozen=True)
class ToolResult:
    """Result of a call. `text` is what the model reads; it starts with `ERROR_PREFIX` where `ok` is false."""

    ok: bool
    text: str


def argument_problem(name: str, arguments: Mapping[str, Any]) -> str | None:
    """First problem of a call's name and arguments, found without running the tool; None if there is none."""
    tool = _find_tool(name)
    if tool is None:
        return f"no such tool '{name}'"
    _, problem = _validated(tool, arguments, {})
    return problem


def execute(name: str, arguments: Mapping[str, Any]) -> ToolResult:
    """Run a tool by name. An unknown tool, wrong arguments and a failing tool are results with `ok` false."""
    return _execute(name, arguments, {})


def execute_listed(tools: Sequence[ToolDefinition], tool_names: str, call: Call, earlier: int = 0) -> ToolResult:
    """Run a call that uses the names of a dataset row's tool list.

    `tools` and `tool_names` are columns of the row. `tool_names` is JSON of {listed name: {"tool": real name, "parameters":
    {listed: real}}}, with a "backend" for a simulated tool. The real name of a user's function is `module:function`. A call
    of a tool that the row does not list fails. `earlier` is how often the same call was made before in the conversation:
    recorded results may change from one time to the next.
    """
    names = _listed_names(tool_names).get(call.name)
    if names is None:
        return ToolResult(False, f"{ERROR_PREFIX}no such tool '{call.name}'")
    real = {listed: parameter for listed, parameter in names["parameters"].items() if listed in call.arguments}
    # An unknown argument gets a mark, so that its name never passes for a real parameter.
    arguments = {real.get(key, f"{key} (not a parameter)"): value for key, value in call.arguments.items()}
    if "backend" not in names:
        return _execute(names["tool"], arguments, {parameter: listed for listed, parameter in names["parameters"].items()})
    definition = next(tool for tool in tools if tool["function"]["name"] == call.name)
    problem = schema_problem(definition, call.arguments)
    if problem is not None:
        return ToolResult(False, f"{ERROR_PREFIX}{problem}")
    try:
        return ToolResult(True, simulate(Backend.model_validate(names["backend"]), names["tool"], arguments, earlier))
    except ToolError as error:
        return ToolResult(False, f"{ERROR_PREFIX}{error}")


@functools.lru_cache(maxsize=4096)
def _listed_names(tool_names: str) -> dict[str, Any]:
    names: dict[str, Any] = json.loads(tool_names)
    return names


def _find_tool(name: str) -> Tool | None:
    """A built-in tool by its name, a user's function by its real name; None if there is none."""
    return find_function(name) if is_users(name) else TOOLS.get(name)


def is_users(name: str) -> bool:
    """Whether a real name is that of a user's function, `MODULE:FUNCTION`."""
    return ":" in name


def _execute(name: str, arguments: Mapping[str, Any], listed_names: Mapping[str, str]) -> ToolResult:
    tool = _find_tool(name)
    if tool is None:
        return ToolResult(False, f"{ERROR_PREFIX}no such tool '{name}'")
    values, problem = _validated(tool, arguments, listed_names)
    if problem is not None:
        return ToolResult(False, f"{ERROR_PREFIX}{problem}")
    if is_users(name):
        return _run_users(tool, values)
    try:
        return ToolResult(True, plain(tool(**values)))
    except ToolError as error:  # the only way in which built-in tools refuse; anything else is a bug of ours
        return ToolResult(False, f"{ERROR_PREFIX}{error}")


def _run_users(tool: Tool, values: Mapping[str, Any]) -> ToolResult:
    try:
        result = tool(**values)
        return ToolResult(True, result_text(_awaited(result) if inspect.isawaitable(result) else result))
    except (Exception, SystemExit) as error:  # noqa: BLE001  # a user's code may raise anything
        return ToolResult(False, f"{ERROR_PREFIX}{_reason(error)}")


def _reason(error: BaseException) -> str:
    """An error's own message; with its type where the message alone says nothing, as that of a KeyError."""
    message = " ".join(str(error).split())
    return (
        message if message and not isinstance(error, (LookupError, SystemExit)) else f"{type(error).__name__} {message}".strip()
    )


def _awaited(result: Any) -> Any:
    async def settle() -> tuple[Any, BaseException | None]:
        try:
            return await result, None
        except SystemExit as error:  # it would end the loop's thread, and nobody would answer
            return None, error

    value, ended = asyncio.run_coroutine_threadsafe(settle(), _loop()).result()
    if ended is not None:
        raise ended
    return value


@functools.cache
def _loop() -> asyncio.AbstractEventLoop:
    """One loop for all calls, in a thread of its own: clients that a module keeps between calls belong to one loop."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="async tools", daemon=True).start()
    return loop


def _validated(tool: Tool, arguments: Mapping[str, Any], listed_names: Mapping[str, str]) -> tuple[dict[str, Any], str | None]:
    """Typed arguments by real name, and the first problem, which calls parameters by `listed_names` (listed by real name)."""
    for name, value in arguments.items():
        try:  # JSON can carry half of a surrogate pair, which no encoding can write
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            return {}, f"{listed_names.get(name, name)}: text must be valid Unicode"
    try:
        # As JSON: a date or an Enum arrives as text. Strict: where the definition says number, the text "15" is wrong.
        model = argument_model(tool).model_validate_json(json.dumps(dict(arguments)), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        place = [str(part) for part in first["loc"]]
        place[:1] = [listed_names.get(name, name) for name in place[:1]]
        return {}, ": ".join([".".join(place), first["msg"].removeprefix("Value error, ")]).removeprefix(": ")
    return given_values(tool, model), None
