"""What is said where the teacher cannot be asked: one line with the way out."""

from collections.abc import Mapping
from pathlib import Path

import openai

from aria_ray.config.schema import TeacherConfig
from aria_ray.errors import DataError

AGAIN = "run the same command again: what it has answered is kept"


def refused(config: TeacherConfig, error: openai.APIStatusError) -> DataError:
    """The endpoint does not take a question."""
    return DataError(
        f"{_name(config)} refuses a question ({_reason(error)})",
        "give dataset.teacher an endpoint that takes `tools`, and a context long enough for them",
    )


def failed(config: TeacherConfig, error: openai.APIError) -> DataError:
    """A request failed, after every attempt."""
    name = _name(config)
    if isinstance(error, (openai.AuthenticationError, openai.PermissionDeniedError)):
        variable = config.key_env
        fix = (
            f"put a key of this endpoint into {variable}" if variable else "name the key's variable in dataset.teacher.key_env"
        )
        return DataError(f"{name} refuses the key ({_reason(error)})", fix)
    if isinstance(error, openai.NotFoundError):
        return DataError(
            f"{name} is not there ({_reason(error)})", "correct dataset.teacher.model or base_url (it ends in /v1)"
        )
    if isinstance(error, openai.RateLimitError):
        return DataError(f"{name} takes no more requests ({_reason(error)})", f"lower dataset.teacher.concurrency; {AGAIN}")
    if isinstance(error, openai.APIStatusError):
        return DataError(f"{name} fails ({_reason(error)})", AGAIN)
    return DataError(f"{name} does not answer ({_reason(error)})", f"check dataset.teacher.base_url; {AGAIN}")


def not_openai(config: TeacherConfig) -> DataError:
    """The answer is no chat completion."""
    return DataError(
        f"{_name(config)} does not speak OpenAI's API", "give its address, ending in /v1, as dataset.teacher.base_url"
    )


def cache(folder: Path, error: OSError) -> DataError:
    """The cache cannot be read or written."""
    return DataError(
        f"the teacher's answers cannot be kept in {folder} ({error.strerror})", "make it writable, or set XDG_CACHE_HOME"
    )


def _name(config: TeacherConfig) -> str:
    return f"dataset.teacher {config.model} at {config.base_url}" if config.base_url else f"dataset.teacher {config.source}"


def _reason(error: openai.APIError) -> str:
    """The endpoint's own words where it gave some."""
    if isinstance(error, openai.APIStatusError):
        message = error.body.get("message") if isinstance(error.body, Mapping) else None
        return f"HTTP {error.status_code}: {message or error.response.text[:300]}"
    return str(error.__cause__) or type(error.__cause__).__name__
