"""The operators' port: the metrics of a server, of all its workers together, and its health, for probes.

It is separate from the API, and needs no key. A process of its own serves it, so that a scrape delays no request, and
the port answers while a worker is replaced. `/healthz` and `/readyz` are asked of the API, so they say whether that
answers. They are plain HTTP, also when the API speaks HTTPS.
"""

import http.client
import signal
import socket
import ssl
import sys
import threading
from collections.abc import Iterable
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app

from tallystick.background.figure_files import FiguresOfWorkers
from tallystick.domain import limits

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication


class ApiAddress(NamedTuple):
    """Where the API of this machine listens."""

    host: str
    port: int
    tls: bool

    def connect(self) -> http.client.HTTPConnection:
        """A connection to it, over loopback if it listens everywhere."""
        host = _LOOPBACK_OF.get(self.host, self.host)
        if not self.tls:
            return http.client.HTTPConnection(host, self.port, timeout=limits.METRICS_READ_SECONDS_MAX)
        # It is this machine, which the name in the certificate need not be.
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return http.client.HTTPSConnection(
            host, self.port, timeout=limits.METRICS_READ_SECONDS_MAX, context=context
        )


_LOOPBACK_OF: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # nosec B104  # noqa: S104 - nothing listens here
_PROBES: Final = ("/healthz", "/readyz")


def _with_probes(metrics: "WSGIApplication", api: ApiAddress) -> "WSGIApplication":
    """Metrics at every path but those of probes, which the API answers."""

    def respond(environ: dict[str, Any], start_response: "StartResponse") -> Iterable[bytes]:
        path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
        if path not in _PROBES or method not in {"GET", "HEAD"}:
            return metrics(environ, start_response)
        query = environ.get("QUERY_STRING")
        status, body = _asked(api, f"{path}?{query}" if query else path)
        # A list of its own: the server adds to it.
        start_response(f"{status.value} {status.phrase}", [("Content-Type", "application/json")])
        return [] if method == "HEAD" else [body]

    return respond


def _asked(api: ApiAddress, target: str) -> tuple[HTTPStatus, bytes]:
    connection = api.connect()
    try:
        connection.request("GET", target)
        answer = connection.getresponse()
        return HTTPStatus(answer.status), answer.read()
    except (OSError, http.client.HTTPException, ValueError):
        return HTTPStatus.SERVICE_UNAVAILABLE, b'{"status":"unavailable"}'
    finally:
        connection.close()


class _Handler(WSGIRequestHandler):
    """One scrape, which is not logged."""

    timeout = limits.METRICS_READ_SECONDS_MAX

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


class _Server(WSGIServer):
    """One scrape at a time, so that a flood of this port uses only one thread."""

    def __init__(self, listener: socket.socket) -> None:
        host, port = listener.getsockname()[:2]
        super().__init__((host, port), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.server_name, self.server_port = host, port
        self.setup_environ()

    def handle_error(self, *_: Any) -> None:
        """Say nothing of a scraper that has disconnected, or sent nothing in time."""


def serve_metrics(listener: int, folder: Path, api: ApiAddress) -> None:
    """Serve until the input of this process ends.

    Signals that go to all processes of the server are for the one that started this.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    registry = CollectorRegistry()
    registry.register(FiguresOfWorkers(folder))
    server = _Server(socket.socket(fileno=listener))
    server.set_app(_with_probes(make_wsgi_app(registry), api))
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    sys.stdin.buffer.read()


if __name__ == "__main__":
    serve_metrics(
        int(sys.argv[1]),
        Path(sys.argv[2]),
        ApiAddress(sys.argv[3], int(sys.argv[4]), tls=sys.argv[5] == "tls"),
    )
