"""Bytes to a server and back, as an attacker sends them: no library keeps to the rules here."""

import socket
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import psutil
import requests

from tests.api.server import Server

WAIT_SECONDS_MAX: Final = 60.0
HELD_UP_SECONDS_MAX: Final = 10.0
"""How long another client may wait, on a machine that has much else to do."""


class Answered(NamedTuple):
    """All that came until the connection was closed, and after how long that was."""

    answer: bytes
    seconds: float


def connect(server: Server, sent: bytes = b"", *, source: str = "127.0.0.1") -> socket.socket:
    """A connection that has sent something."""
    place = urlsplit(server.url)
    address = str(place.hostname), place.port or 0
    connection = socket.create_connection(address, WAIT_SECONDS_MAX, source_address=(source, 0))
    with suppress(ConnectionError):  # the server may have seen enough of it
        connection.sendall(sent)
    return connection


def read(connection: socket.socket) -> bytes:
    """All that comes until it is closed."""
    found = bytearray()
    with suppress(ConnectionResetError):
        while part := connection.recv(65_536):
            found += part
    return bytes(found)


def ask(server: Server, sent: bytes) -> bytes:
    """All that is answered until the connection is closed."""
    with connect(server, sent) as connection:
        return read(connection)


def ask_at_once(server: Server, sent: Sequence[bytes]) -> list[Answered]:
    """What is answered to each; what takes long is waited for once."""

    def ask_one(one: bytes) -> Answered:
        started = time.monotonic()
        return Answered(ask(server, one), time.monotonic() - started)

    with ThreadPoolExecutor(len(sent)) as threads:
        return list(threads.map(ask_one, sent))


def request(
    method: bytes, target: bytes, *headers: bytes, body: bytes = b"", version: bytes = b"1.1"
) -> bytes:
    """A request, of which only what is always there is written by itself."""
    lines = (method + b" " + target + b" HTTP/" + version, b"Host: ledger", *headers)
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def get(target: bytes, *headers: bytes, version: bytes = b"1.1") -> bytes:
    """A request to read, and to close the connection then."""
    return request(b"GET", target, b"Connection: close", *headers, version=version)


def seconds_of(server: Server) -> float:
    """How long another client waits for an answer."""
    started = time.monotonic()
    with requests.get(f"{server.url}/healthz", timeout=WAIT_SECONDS_MAX) as answer:
        assert answer.status_code == 200
    return time.monotonic() - started


def processes_of(server: Server) -> list[psutil.Process]:
    """The processes that serve."""
    port = server.url.rpartition(":")[2]
    (main,) = (one for one in psutil.Process().children() if port in one.cmdline())
    return [main, *main.children(recursive=True)]
