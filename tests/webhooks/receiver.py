"""A receiver as a customer runs one: it verifies what it gets with the reference library, or misbehaves."""

import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook

from tests.waiting import wait_for

HANG_SECONDS = 60.0
SLOW_SECONDS = 1.5


@dataclass(frozen=True)
class Received:
    """One request, and what the receiver did with it."""

    path: str
    headers: dict[str, str]
    body: bytes
    did: str
    at: float

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def event(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def position(self) -> int:
        return int(self.event["data"]["position"])


@dataclass
class Receiver:
    """What came, and how the next request is treated: `behave` says so, from how many came before.

    `retry_after` is made when it is answered. `released` ends what hangs.
    """

    url: str = ""
    behave: Callable[[int], str] = lambda _number: "ok"
    received: list[Received] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    ending: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)
    retry_after: Callable[[], str] = lambda: ""

    def accepted(self) -> list[Received]:
        """What it has taken, each event once."""
        with self.lock:
            taken = {one.id: one for one in reversed(self.received) if one.did == "ok"}
        return sorted(taken.values(), key=lambda one: one.at)

    def positions(self) -> list[int]:
        """The positions of what it has taken, in the order in which each came first."""
        return [one.position for one in self.accepted()]

    def verify(self, secret: str) -> None:
        """Every request bears a valid signature, as the reference library sees it."""
        for one in list(self.received):
            Webhook(secret).verify(one.body, one.headers)

    def wait(self, condition: Callable[[], bool], what: str, seconds_max: float = 60.0) -> None:
        wait_for(
            condition, f"{what}; came: {[(one.did, one.path) for one in self.received][-20:]}", seconds_max
        )


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    receiver: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        receiver = self.receiver
        with receiver.lock:
            did = receiver.behave(len(receiver.received))
            headers = {name.lower(): value for name, value in self.headers.items()}
            receiver.received.append(Received(self.path, headers, body, did, time.monotonic()))
        getattr(self, f"_{did}")()

    def _answer(self, status: int, headers: Mapping[str, str] = {}, body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _ok(self) -> None:
        self._answer(200, body=b"thank you")

    def _error(self) -> None:
        self._answer(500)

    def _gone(self) -> None:
        self._answer(410)

    def _busy(self) -> None:
        self._answer(429, {"retry-after": self.receiver.retry_after()})

    def _later(self) -> None:
        self._answer(503, {"retry-after": self.receiver.retry_after()})

    def _trickle(self) -> None:
        """Take it, and then say so very slowly."""
        self.send_response(200)
        self.send_header("content-length", "1000")
        self.end_headers()
        self._drip(b"x")

    def _trickle_headers(self) -> None:
        """Never come to the end of the headers."""
        self.wfile.write(b"HTTP/1.1 200 OK\r\n")
        self._drip(b"x-a: b\r\n")

    def _continue_for_ever(self) -> None:
        """Say again and again that an answer will come."""
        self._drip(b"HTTP/1.1 100 Continue\r\n\r\n" * 1_000, 0.001)

    def _big_header(self) -> None:
        self._answer(200, {"x-big": "x" * 100_000})

    def _many_headers(self) -> None:
        self._answer(200, {f"x-{number}": "x" * 100 for number in range(100_000)})

    def _drip(self, drop: bytes, seconds: float = 0.2) -> None:
        self.close_connection = True
        try:
            while not self.receiver.ending.wait(seconds):
                self.wfile.write(drop)
                self.wfile.flush()
        except OSError:
            return

    def _redirect(self) -> None:
        self._answer(307, {"location": f"{self.receiver.url}/elsewhere"})

    def _hang(self) -> None:
        self.receiver.released.wait(HANG_SECONDS)
        self.close_connection = True

    def _held_error(self) -> None:
        self.receiver.released.wait(HANG_SECONDS)
        self._answer(500)

    def _slow_gone(self) -> None:
        self.receiver.ending.wait(SLOW_SECONDS)
        self._answer(410)

    def _slow(self) -> None:
        self.receiver.ending.wait(SLOW_SECONDS)
        self._ok()

    def _close(self) -> None:
        self.close_connection = True

    def _midway(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-len")
        self.close_connection = True

    def _endless(self) -> None:
        self.send_response(200)
        self.end_headers()
        try:
            while not self.receiver.ending.is_set():
                self.wfile.write(b"x" * 65_536)
        except OSError:
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, *_: object) -> None:
        """A sender that was killed is no error of ours."""


@contextmanager
def receiving(tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """A receiver, which speaks TLS when it has a certificate."""
    receiver = Receiver()
    handler = type("Handler", (_Handler,), {"receiver": receiver})
    server = _Server(("127.0.0.1", 0), handler)
    receiver.url = f"http{'s' if tls else ''}://127.0.0.1:{server.server_address[1]}"
    if tls is not None:
        # Greeted in the thread of each connection: one that breaks off stops no other.
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield receiver
    finally:
        receiver.ending.set()
        receiver.released.set()
        server.shutdown()
        thread.join()
        server.server_close()
