"""The operators' port: the metrics of a server, of all its workers together, for Prometheus.

It is separate from the API, and needs no key. A process of its own serves it, so that a scrape delays no request, and
the port answers while a worker is replaced.
"""

import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app

from tallystick.background.figure_files import FiguresOfWorkers
from tallystick.domain import limits


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


def serve_metrics(listener: int, folder: Path) -> None:
    """Serve until the input of this process ends.

    Signals that go to all processes of the server are for the one that started this.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    registry = CollectorRegistry()
    registry.register(FiguresOfWorkers(folder))
    server = _Server(socket.socket(fileno=listener))
    server.set_app(make_wsgi_app(registry))
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    sys.stdin.buffer.read()


if __name__ == "__main__":
    serve_metrics(int(sys.argv[1]), Path(sys.argv[2]))
