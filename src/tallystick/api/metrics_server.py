"""The operators' port: the metrics of this process, for Prometheus.

It is separate from the API, and needs no key.
"""

import socket
import threading
from collections.abc import Sequence
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import structlog
from prometheus_client import make_wsgi_app

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

    # Two processes must not share a port, because a scraper would get the figures of either one.
    allow_reuse_port = False

    def handle_error(self, _request: Any, client_address: Any) -> None:
        """Log a scraper that has disconnected, or sent nothing in time."""
        _log.debug("metrics were not sent", client=str(client_address), exc_info=True)


class _IPv6Server(_Server):
    address_family = socket.AF_INET6


def serve_metrics(host: str, ports: Sequence[int]) -> None:
    """Serve the metrics of this process at the first free port, in a thread that ends with the process.

    There is one port for each worker. A worker that replaces another takes its port.
    """
    threading.Thread(target=_serve, args=(host, ports), name="metrics", daemon=True).start()


def _serve(host: str, ports: Sequence[int]) -> None:
    said, pause = False, threading.Event()
    while (server := _listening(host, ports)) is None:
        if not said:
            said = True
            _log.error("ALARM: no port for metrics is free: trying again", host=host, ports=list(ports))
        pause.wait(_RETRY_SECONDS)
    server.set_app(make_wsgi_app())
    server.serve_forever()


def _listening(host: str, ports: Sequence[int]) -> WSGIServer | None:
    kind = _IPv6Server if ":" in host else _Server
    for port in ports:
        try:
            return kind((host, port), _Handler)
        except OSError:
            continue
    return None
