"""The host and the port that the endpoint listens on."""

import errno
import socket

from aria_ray.config.schema import ServingConfig
from aria_ray.errors import ServingError


def check_port(config: ServingConfig) -> None:
    """Raise ServingError if another program has the port."""
    if is_taken(config.host, config.port):
        raise ServingError(
            f"serving.port {config.port} on {config.host} is in use by another program",
            "choose a free one with serving.port=PORT, or stop that program",
        )


def is_taken(host: str, port: int) -> bool:
    """Whether a program listens on the port.

    Raises:
        ServingError: this machine cannot listen on that address at all.
    """
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        # As servers do: a port whose last connections are only closing counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return True
            raise ServingError(
                f"serving.host {host} and serving.port {port} must be an address this machine can listen on ({error.strerror})",
                "set serving.host to one of its addresses and serving.port to 1024 or more",
            ) from None
    return False


def client_host(host: str) -> str:
    """The host in a URL by which this machine reaches a server that listens on `host`."""
    known = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)
    return f"[{known}]" if ":" in known and not known.startswith("[") else known
