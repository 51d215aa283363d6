"""Floods of HTTP/2 frames, sent to a server that speaks HTTP/1.1 only: it must not read them as anything else."""

import socket
import struct
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Final

import pytest

from tests.api.server import Server
from tests.attack.length import LENGTH
from tests.attack.wire import connect, others_are_served, processes_of, read

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
CONNECTIONS: Final = 10 * min(LENGTH, 3)
FRAMES: Final = 2_000 * LENGTH
MEMORY_BYTES_MAX: Final = 100 * 1024 * 1024

DATA, HEADERS, RST_STREAM, SETTINGS, PING, CONTINUATION = 0, 1, 3, 4, 6, 9
END_STREAM, END_HEADERS = 0x1, 0x4
GET_ROOT: Final = b"\x82\x84\x86\x41\x01a"
"""GET / of a host, in words of the static table (RFC 7541, appendix A)."""


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """RFC 9113, 4.1."""
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def encoded(number: int) -> bytes:
    """What is left of an integer after its prefix (RFC 7541, 5.1)."""
    found = bytearray()
    while number >= 128:
        found.append(number % 128 + 128)
        number //= 128
    return bytes([*found, number])


def unfolding_headers() -> bytes:
    """A header of 4,000 bytes that is said once and repeated 3,900 times by its number (RFC 7541, 6.1)."""
    name, value = b"a", b"x" * 4_000
    # Literal with incremental indexing: a new name, a length of 4,000 in the prefix code of 5.1.
    literal = b"\x40" + bytes([len(name)]) + name + b"\x7f" + encoded(len(value) - 127) + value
    return frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x82\x84\x86" + literal + b"\xbe" * 3_900)


def rapid_reset() -> bytes:
    """Requests that are taken back at once (CVE-2023-44487)."""
    return b"".join(
        frame(HEADERS, END_HEADERS | END_STREAM, stream, GET_ROOT)
        + frame(RST_STREAM, 0, stream, struct.pack(">I", 8))
        for stream in range(1, 2 * FRAMES, 2)
    )


def continuation_flood() -> bytes:
    """Headers that never end (CVE-2024-24549 and its relatives)."""
    more = frame(CONTINUATION, 0, 1, b"\x00\x01a\x7f\x81\x07" + b"x" * 1_024)
    return frame(HEADERS, 0, 1, GET_ROOT) + more * FRAMES


def settings_flood() -> bytes:
    return frame(SETTINGS, 0, 0, struct.pack(">HI", 3, 100)) * FRAMES


def ping_flood() -> bytes:
    return frame(PING, 0, 0, b"12345678") * FRAMES


def empty_frames() -> bytes:
    """CVE-2019-9518."""
    return frame(HEADERS, END_HEADERS, 1, GET_ROOT) + frame(DATA, 0, 1) * FRAMES


def memory_of(server: Server) -> int:
    """What the processes that serve have in memory."""
    return sum(one.memory_info().rss for one in processes_of(server))


@pytest.mark.parametrize(
    "flood",
    [unfolding_headers, rapid_reset, continuation_flood, settings_flood, ping_flood, empty_frames],
)
def test_floods_of_frames_cost_nothing(strict: Server, flood: Callable[[], bytes]) -> None:
    sent = PREFACE + frame(SETTINGS, 0, 0) + flood()
    with connect(strict, sent) as connection:
        with suppress(OSError):
            connection.shutdown(socket.SHUT_WR)
        begins = b""
        with suppress(ConnectionResetError):
            begins = connection.recv(65_536)
        assert not begins or begins.startswith(b"HTTP/1.1 400 "), "a frame of HTTP/2 comes back"
        answer = begins + read(connection)
    assert answer.count(b"HTTP/1.1 ") <= 1, "a request was seen in what was sent"
    before = memory_of(strict)
    with others_are_served(strict), ExitStack() as attack:
        for _ in range(CONNECTIONS):
            attack.enter_context(connect(strict, sent))
        assert memory_of(strict) - before < MEMORY_BYTES_MAX
