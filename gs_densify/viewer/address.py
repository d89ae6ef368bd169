"""The address that a server is to listen on, checked before anything is loaded."""

import os
import socket
from dataclasses import dataclass

from gs_densify.errors import ConfigError


@dataclass(frozen=True)
class Address:
    """Where to listen, and what to type into a browser on this machine."""

    number: str
    """IP address, numeric."""
    port: int
    host: str
    """As a browser on this machine is told it."""
    is_any_port: bool
    """Whether another port would do as well."""

    @property
    def url(self) -> str:
        """Returns what to type into a browser."""
        return f"http://{self.host}:{self.port}"


def free_address(host: str, port: int) -> Address:
    """Returns the first address of `host`, IPv4 before IPv6, once `port` is known to be free on it.

    One address, since of the two that "localhost" mostly has a machine may lack one. Port 0 means
    any that is free.

    Raises:
        ConfigError: for a host that is not this machine, a port that is taken or out of range.
    """
    if not 0 <= port <= 65535:
        raise ConfigError(
            f"is {port}", expected="it must be between 0 and 65535 (0: any free one)", option="port"
        )
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise ConfigError(
            f"{host!r} has no address ({error})",
            action="use localhost, 0.0.0.0 for every network, or an address of this machine",
            option="host",
        ) from None
    family, kind, protocol, _, address = min(found, key=lambda one: one[0] != socket.AF_INET)
    is_any_port = port == 0
    with socket.socket(family, kind, protocol) as probe:
        if os.name == "posix":  # as the server does, or a port just left would count as taken
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            raise ConfigError(
                f"{host} --port {port}: cannot listen there ({error.strerror})",
                action="choose another port, or 0 for any that is free",
                option="host",
            ) from None
        number, port = probe.getsockname()[:2]
    return Address(number, port, _in_browser(host), is_any_port)


def _in_browser(host: str) -> str:
    if host in ("0.0.0.0", "::", ""):
        return "localhost"
    return f"[{host}]" if ":" in host else host
