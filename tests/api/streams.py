"""A listener to server-sent events that knows nothing but the specification."""

import json
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlencode, urlsplit

from tests.api.client import Client

EVENT_STREAM = "text/event-stream"


@dataclass(frozen=True)
class Event:
    """One event as it came: its id, its data, and when (seconds of the monotonic clock)."""

    id: int
    data: bytes
    at: float

    @property
    def json(self) -> Any:
        return json.loads(self.data)


class Stream:
    """An open stream. `last_id` is the newest id that was seen, also of heartbeats."""

    def __init__(
        self,
        client: Client,
        path: str = "/v1/events",
        *,
        last_id: int | None = None,
        receive_bytes: int | None = None,
        timeout_seconds: float = 60.0,
        **query: Any,
    ) -> None:
        self.last_id = last_id
        self.comments: list[str] = []
        self.status = 0
        self.headers: dict[str, str] = {}
        self._timeout_seconds = timeout_seconds
        self._buffer = b""
        self._chunked = b""
        self._url = urlsplit(client.url)
        self._socket = socket.socket()
        if receive_bytes is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self._socket.settimeout(timeout_seconds)
        self._socket.connect((self._url.hostname, self._url.port))
        headers = {
            "Host": self._url.netloc,
            "Authorization": f"Bearer {client.api_key}",
            "Accept": EVENT_STREAM,
        }
        if last_id is not None:
            headers["Last-Event-ID"] = str(last_id)
        self._send(path, query, headers)

    def _send(self, path: str, query: Mapping[str, Any], headers: Mapping[str, str]) -> None:
        target = f"{path}?{urlencode(query, doseq=True)}" if query else path
        lines = [f"GET {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        self._socket.sendall("\r\n".join(lines).encode() + b"\r\n\r\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def opened(self) -> Self:
        """This stream, after its headers and its first id."""
        while self.last_id is None or not self.status:
            self._block()
        return self

    def events(self) -> Iterator[Event]:
        """Events as they come, until the server ends the stream, or says nothing at all for too long."""
        while True:
            found = self._block()
            if found is None:
                return
            if found.data:
                yield found

    def next(self) -> Event:
        return next(self.events())

    def take(self, count: int) -> list[Event]:
        found = self.events()
        return [next(found) for _ in range(count)]

    def _block(self) -> Event | None:
        while b"\n\n" not in self._buffer:
            if not self._receive():
                return None
        text, self._buffer = self._buffer.split(b"\n\n", 1)
        data, event_id = b"", self.last_id
        for line in text.split(b"\n"):
            name, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if not name:
                self.comments.append(value.decode())
            elif name == b"data":
                data += value
            elif name == b"id":
                event_id = int(value)
        self.last_id = event_id
        return Event(event_id or 0, data, time.monotonic())

    def _receive(self) -> bool:
        """Receive some more; False at the end."""
        while not self.status:
            received = self._socket.recv(65536)
            if not received:
                return False
            self._chunked += received
            if b"\r\n\r\n" in self._chunked:
                head, self._chunked = self._chunked.split(b"\r\n\r\n", 1)
                status, *lines = head.decode().split("\r\n")
                self.status = int(status.split(" ")[1])
                self.headers = {
                    name.lower(): value for name, value in (line.split(": ", 1) for line in lines)
                }
        while True:
            size, separator, rest = self._chunked.partition(b"\r\n")
            if separator:
                length = int(size, 16)
                if not length:
                    return False
                if len(rest) >= length + 2:
                    self._buffer += rest[:length]
                    self._chunked = rest[length + 2 :]
                    return True
            received = self._socket.recv(65536)
            if not received:
                return False
            self._chunked += received
