"""HTTP servers that are not careful: they read what may be read in two ways, each in its own way.

Attacks on framing are answered by the HTTP server that the product stands on, where no bug can be planted. Here it is
seen that these attacks would be found out if that server were as careless as others are.
"""

import re
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from socketserver import StreamRequestHandler, TCPServer, ThreadingTCPServer
from typing import Final, NamedTuple

READINGS: Final = ("length", "chunks", "no body")
"""What counts where both are named: the length, the chunks, or neither."""

_SILENT_SECONDS: Final = 0.5
_REQUEST_LINE: Final = re.compile(rb"([A-Z]+) (\S+) HTTP/1\.([01])\s*")
_LINE_END: Final = re.compile(rb"[\r\n]+")
Headers = defaultdict[bytes, list[bytes]]


class LaxServer(NamedTuple):
    """Where it is, which is all that an attacker knows."""

    url: str


@contextmanager
def lax_server(reading: str, *, threads: bool = True) -> Iterator[LaxServer]:
    """A server with one way to read a body. Without threads it serves one connection after another."""
    handler = type(
        "Handler", (_Handler,), {"reading": reading, "timeout": _SILENT_SECONDS if threads else None}
    )
    with (_Threads if threads else TCPServer)(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield LaxServer(f"http://127.0.0.1:{server.server_address[1]}")
        finally:
            if threads:
                server.shutdown()
                thread.join()


class _Threads(ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False


class _Handler(StreamRequestHandler):
    """Answers as the product does, where the attacks look at the answer to what they do not hide."""

    reading = "length"

    def handle(self) -> None:
        with suppress(OSError, ValueError, OverflowError):
            while line := self.rfile.readline():
                # What is no request is passed over.
                if (asked := _REQUEST_LINE.fullmatch(line)) is not None and not self._serve(*asked.groups()):
                    return

    def _serve(self, method: bytes, path: bytes, version: bytes) -> bool:
        """Answer one request. Returns whether another may follow."""
        headers: Headers = defaultdict(list)
        self._read_headers(headers)
        body = self._body(headers)
        known = bool(headers[b"authorization"])
        if headers[b"upgrade"]:
            self._answer(version, 101)
        elif method in {b"CONNECT", b"TRACE"}:
            self._answer(version, 200, repr(headers).encode())
        elif method == b"POST":
            self._answer(version, 400 if known else 401)
        elif path == b"/docs":
            self._answer(version, 200, b"a page", b"text/html")
        elif path in {b"/healthz", b"/v1/assets"}:
            self._answer(version, 200 if known or path == b"/healthz" else 401, body)
        else:
            self._answer(version, 404, b"path_not_found")
        return headers[b"connection"] != [b"close"]

    def _answer(self, version: bytes, status: int, body: bytes = b"", kind: bytes = b"text/plain") -> None:
        head = b"HTTP/1.%b %d Said\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n"
        self.wfile.write(head % (version, status, kind, len(body)) + body)

    def _read_headers(self, headers: Headers) -> None:
        """Read to an empty line. Spaces, and what ends a line, are not looked at closely."""
        name = b""
        while (line := self.rfile.readline()).strip():
            for part in filter(None, _LINE_END.split(line)):
                if part[:1].isspace() and b":" not in part:
                    headers[name][-1] += part.strip()
                    continue
                name, _, value = part.partition(b":")
                name = name.strip().lower()
                headers[name].append(value.strip())

    def _body(self, headers: Headers) -> bytes:
        lengths, codings = headers[b"content-length"], headers[b"transfer-encoding"]
        if self.reading == "no body":
            return b""
        if any(b"chunked" in one for one in codings) and (self.reading == "chunks" or not lengths):
            return b"".join(self._chunks(headers))
        length = re.match(rb"[+]?(0x)?([0-9_]+)", lengths[0]) if lengths else None
        return b"" if length is None else self.rfile.read(int(length[2]))

    def _chunks(self, headers: Headers) -> Iterator[bytes]:
        while size := int(self.rfile.readline(), 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        # What comes after the last chunk counts as headers.
        self._read_headers(headers)
