"""API keys of the endpoint: where they are read, and how the key of a request is compared.

The application receives only their hashes, so no key is in a log, a dashboard or Ray's object store.
"""

import hashlib
import hmac
import ipaddress
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from aria_ray.errors import ServingError

KEYS_VARIABLE = "ARIA_API_KEYS"
MIN_LENGTH = 16


def read_keys(file: str | None, environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """The keys in `file` (one a line, `#` starts a comment) and in ARIA_API_KEYS (separated by commas), without duplicates.

    Raises:
        ServingError: the file cannot be read or has no key, or a key is too short or cannot be put into a header.
    """
    keys = [key.strip() for key in environment.get(KEYS_VARIABLE, "").split(",") if key.strip()]
    if file is not None:
        keys += _keys_of(Path(file))
    for number, key in enumerate(keys, start=1):
        if len(key) < MIN_LENGTH or not key.isascii() or not key.isprintable() or " " in key:
            # Without the key itself, because this line is written to logs.
            raise ServingError(
                f"API key {number} of {len(keys)} ({len(key)} characters) must be {MIN_LENGTH} or more ASCII characters "
                "without spaces",
                "make one with `openssl rand -hex 24`",
            )
    return tuple(dict.fromkeys(keys))


def digest(key: str) -> str:
    """SHA-256 of a key, as hexadecimal digits."""
    return hashlib.sha256(key.encode("utf-8", errors="surrogateescape")).hexdigest()


def known_digest(authorization: str, digests: Sequence[str]) -> str | None:
    """The hash of the key in an Authorization header (`Bearer KEY`) if it is one of `digests`, else None.

    Always all hashes are compared, each in constant time, so the duration reveals nothing about a key.
    """
    scheme, _, key = authorization.partition(" ")
    given = digest(key.strip())
    found = None
    for each in digests:
        if hmac.compare_digest(given, each):
            found = each
    return found if scheme.lower() == "bearer" else None


def is_loopback(host: str) -> bool:
    """Whether a host is an address or a name that only this machine can reach."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_reachable(host: str, keys: Sequence[str]) -> None:
    """Raise ServingError if other machines could reach an endpoint without keys."""
    if not keys and not is_loopback(host):
        raise ServingError(
            f"serving.host {host} can be reached by other machines, which needs API keys",
            f"set {KEYS_VARIABLE} or args.api_keys_file in the Serve config, or serve on 127.0.0.1",
        )


def _keys_of(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise ServingError(
            f"args.api_keys_file '{path}' cannot be read ({reason})", "give a file with one key a line"
        ) from None
    keys = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if not keys:
        raise ServingError(f"args.api_keys_file '{path}' has no key", "put one on each line, or leave the argument out")
    return keys
