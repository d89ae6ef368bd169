"""A port that cannot be used is refused before anything is loaded."""

import dataclasses
import socket
from collections.abc import Iterator

import pytest

from gs_densify.errors import ConfigError
from gs_densify.viewer.address import free_address


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_port_that_is_free() -> None:
    address = free_address("localhost", 0)
    assert address.number == "127.0.0.1"
    assert address.url == f"http://localhost:{address.port}"
    assert free_address("127.0.0.1", address.port).port == address.port > 0


def test_a_port_that_is_taken(taken: int) -> None:
    with pytest.raises(ConfigError, match=f"--host localhost --port {taken}: cannot listen"):
        free_address("localhost", taken)


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_port_that_does_not_exist(port: int) -> None:
    with pytest.raises(ConfigError, match=f"--port is {port}; it must be between 0 and 65535"):
        free_address("localhost", port)


@pytest.mark.parametrize("host", ["not a host", "x" * 300, "a..b"])
def test_a_host_that_does_not_exist(host: str) -> None:
    with pytest.raises(ConfigError, match="has no address"):
        free_address(host, 0)


def test_another_machine() -> None:
    with pytest.raises(ConfigError, match=r"--host 192\.0\.2\.1 .* cannot listen"):
        free_address("192.0.2.1", 0)  # reserved for documentation


def test_every_network_is_reached_at_localhost() -> None:
    assert free_address("0.0.0.0", 0).url.startswith("http://localhost:")


def test_a_port_that_is_taken_in_the_meantime(taken: int) -> None:
    """Another one does as well where none was asked for."""
    pytest.importorskip("viser")
    from gs_densify.viewer.serve import _server

    found = dataclasses.replace(free_address("localhost", 0), port=taken)
    with _server(found) as (server, url):
        assert server.get_port() != taken and url == f"http://localhost:{server.get_port()}"
    asked_for = dataclasses.replace(found, is_any_port=False)
    with pytest.raises(ConfigError, match=f"--port {taken} was taken in the"), _server(asked_for):
        pass
