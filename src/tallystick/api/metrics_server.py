"""The operators' port: the metrics of a server, of all its workers together, for Prometheus.

It is separate from the API, and needs no key. The process that starts the workers serves it, so that a scrape delays
no request, and that it answers while a worker is replaced.
"""

import os
import socket
import threading
from pathlib import Path
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import structlog
from prometheus_client import CollectorRegistry, make_wsgi_app

from tallystick.background.alarms import Alarm, raise_alarm
from tallystick.background.figure_files import FiguresOfWorkers
from tallystick.domain import limits

_RETRY_SECONDS: Final = 1.0

_log = structlog.get_logger(__name__)


class _Handler(WSGIRequestHandler):
    """One scrape, which is not logged."""

    timeout = limits.METRICS_READ_SECONDS_MAX

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


class _Server(WSGIServer):
    """One scrape at a time, so that a flood of this port uses only one thread."""

    # Two servers must not share a port, because a scraper would get the figures of either one.
    allow_reuse_port = False

    def handle_error(self, _request: Any, client_address: Any) -> None:
        """Log a scraper that has disconnected, or sent nothing in time."""
        _log.debug("metrics were not sent", client=str(client_address), exc_info=True)


class _IPv6Server(_Server):
    address_family = socket.AF_INET6


def serve_metrics(host: str, port: int, folder: Path) -> None:
    """Serve what the workers of a folder count, in a thread that ends with the process."""
    threading.Thread(target=_serve, args=(host, port, folder), name="metrics", daemon=True).start()


def _serve(host: str, port: int, folder: Path) -> None:
    said, pause = False, threading.Event()
    while (server := _listening(host, port)) is None:
        if not said:
            said = True
            raise_alarm(_log, Alarm.METRICS_PORT_TAKEN, host=host, port=port)
        pause.wait(_RETRY_SECONDS)
    # A worker that outlives this process must not keep the port.
    os.register_at_fork(after_in_child=server.socket.close)
    registry = CollectorRegistry()
    registry.register(FiguresOfWorkers(folder))
    server.set_app(make_wsgi_app(registry))
    server.serve_forever()


def _listening(host: str, port: int) -> WSGIServer | None:
    kind = _IPv6Server if ":" in host else _Server
    try:
        return kind((host, port), _Handler)
    except OSError:
        return None
