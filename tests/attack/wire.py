"""Bytes to a server and back, as an attacker sends them: no library keeps to the rules here."""

import socket
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from threading import Event
from typing import Final, NamedTuple, Protocol
from urllib.parse import urlsplit

import psutil
import requests

WAIT_SECONDS_MAX: Final = 60.0
HELD_UP_SECONDS_MAX: Final = 10.0
"""How long another client may wait, on a machine that has much else to do."""


_BYSTANDER_PAUSE_SECONDS: Final = 0.05


class Target(Protocol):
    """A server, as an attacker knows it."""

    @property
    def url(self) -> str: ...


class Running(Protocol):
    """A server, as this machine knows it."""

    @property
    def pid(self) -> int: ...


class Answered(NamedTuple):
    """All that came until the connection was closed, and after how long that was."""

    answer: bytes
    seconds: float


def connect(server: Target, sent: bytes = b"", *, source: str = "127.0.0.1") -> socket.socket:
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


def ask(server: Target, sent: bytes) -> bytes:
    """All that is answered until the connection is closed."""
    with connect(server, sent) as connection:
        return read(connection)


def ask_at_once(server: Target, sent: Sequence[bytes]) -> list[Answered]:
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


def seconds_of(server: Target) -> float:
    """How long another client waits for an answer."""
    started = time.monotonic()
    with requests.get(f"{server.url}/healthz", timeout=WAIT_SECONDS_MAX) as answer:
        assert answer.status_code == 200
    return time.monotonic() - started


@contextmanager
def others_are_served(server: Target) -> Iterator[None]:
    """Another client asks all the time meanwhile, and does not wait long for any answer."""
    ended = Event()

    def ask_again_and_again() -> float:
        longest = seconds_of(server)
        while not ended.wait(_BYSTANDER_PAUSE_SECONDS):
            longest = max(longest, seconds_of(server))
        return longest

    with ThreadPoolExecutor(1) as threads:
        longest = threads.submit(ask_again_and_again)
        try:
            yield
        finally:
            ended.set()
        assert longest.result() < HELD_UP_SECONDS_MAX


def processor_seconds(server: Running) -> float:
    """The time for which the server has used a processor. Unlike waiting, it does not grow on a busy machine."""
    times = [one.cpu_times() for one in processes_of(server)]
    return sum(one.user + one.system for one in times)


def processes_of(server: Running) -> list[psutil.Process]:
    """The processes that serve."""
    main = psutil.Process(server.pid)
    return [main, *main.children(recursive=True)]
