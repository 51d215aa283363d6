"""`tallystick serve`: the HTTP API on databases that exist."""

import asyncio
import logging
import os
import resource
import signal
import threading
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Final

import click
import structlog
from granian import Granian
from granian.constants import HTTPModes, Interfaces, Loops, SSLProtocols
from granian.http import HTTP1Settings
from granian.log import LogLevels

from tallystick.api.app import create_app
from tallystick.api.connections import guard_connections
from tallystick.api.draining import Draining
from tallystick.api.metrics_server import ApiAddress
from tallystick.background.figure_files import figures_folder
from tallystick.background.figures import keep_in_files
from tallystick.cli.metrics_process import metrics_served
from tallystick.cli.options import configuration_option, json_option
from tallystick.cli.ports import METRICS_PORT_OPTION, address_of, reserve_port
from tallystick.cli.tls import tls_of
from tallystick.domain import limits
from tallystick.domain.hosts import PORT_MAX
from tallystick.service.configuration import CONFIGURATION_VARIABLE, read_configuration
from tallystick.service.logging import configure_logging
from tallystick.service.migration import check_own_sessions, check_shards, risks_of_serving
from tallystick.service.parent import GRACE_SECONDS, stop_when_orphaned
from tallystick.service.telemetry import expect_traces_possible
from tallystick.service.webhooks.key_risks import risks_of_secrets

BACKLOG_CONNECTIONS_MAX: Final = 1024
WORKERS_MAX: Final = 64

# The server's own messages go to the same log, in the same form.
_SERVER_LOGGING: Final[dict[str, Any]] = {
    "handlers": {},
    "formatters": {},
    "loggers": {"_granian": {"level": "WARNING"}, "granian.access": {"level": "WARNING"}},
}

_log = structlog.get_logger(__name__)


class _Server(Granian):  # type: ignore[misc, valid-type]
    """The HTTP server. It drains before it stops, and needs no signal to follow the configuration file."""

    def __init__(self, *arguments: Any, draining: Draining, drain_seconds: int, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._draining = draining
        self._drain_seconds = drain_seconds

    def signal_handler_interrupt(self, number: int = signal.SIGTERM, *rest: object) -> None:
        """Stop, at SIGTERM after draining. A second signal, or Ctrl-C, ends the wait."""
        if self._draining.begun or number != signal.SIGTERM or not self._drain_seconds:
            super().signal_handler_interrupt(number, *rest)
            return
        self._draining.begin()
        _log.info("draining", seconds=self._drain_seconds)
        wait = threading.Timer(self._drain_seconds, super().signal_handler_interrupt)
        wait.daemon = True
        wait.start()

    def signal_handler_reload(self, *_: object) -> None:
        """Do not restart workers on SIGHUP, as the base class does: with a wrong file none could start."""
        _log.info("changes of the configuration file are followed without a signal")


@click.command(epilog="Example: tallystick serve --config tallystick.toml --port 8000")
@configuration_option
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", type=click.IntRange(1, PORT_MAX), default=8000, show_default=True)
@click.option(
    "--workers",
    type=click.IntRange(1, WORKERS_MAX),
    default=1,
    show_default=True,
    help="Processes that serve. All of them write to the same shards.",
)
@click.option(
    "--idle-seconds",
    type=click.IntRange(1, limits.IDLE_SECONDS_MAX),
    default=limits.IDLE_SECONDS_DEFAULT,
    show_default=True,
    help="How long a connection may be silent, and a request may take to arrive. A load balancer in front "
    "must wait less.",
)
@click.option(
    "--drain-seconds",
    type=click.IntRange(0, limits.DRAIN_SECONDS_MAX),
    default=0,
    show_default=True,
    help="How long /readyz is 503 after SIGTERM, while requests are served as before, so that load balancers "
    "choose other servers. A second SIGTERM ends this.",
)
@click.option(
    "--connections-per-address",
    type=click.IntRange(0),
    default=limits.CONNECTIONS_PER_ADDRESS_DEFAULT,
    show_default=True,
    help="Connections from one address to one worker; further ones are closed. 0: any number, for a proxy.",
)
@click.option(
    METRICS_PORT_OPTION,
    type=click.IntRange(1, PORT_MAX),
    help="The operators' port: /metrics of all workers for Prometheus, /healthz and /readyz for probes. "
    "Default: none.",
)
@click.option(
    "--metrics-host",
    default="127.0.0.1",
    show_default=True,
    help="The address of the operators' port. It needs no API key, so tenants must not reach it.",
)
@click.option(
    "--tls-certificate",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The certificate of this server with its chain, as PEM: speak HTTPS. Default: tls_certificate of the "
    "configuration file, else plain HTTP.",
)
@click.option(
    "--tls-key",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The key of the certificate, as PEM without a password. Default: tls_key of the configuration file.",
)
@click.option("--child-of", type=int, hidden=True, help="The process that holds the port; stop when it ends.")
@json_option
def serve(
    *,
    configuration_path: Path,
    host: str,
    port: int,
    workers: int,
    idle_seconds: int,
    drain_seconds: int,
    connections_per_address: int,
    metrics_port: int | None,
    metrics_host: str,
    tls_certificate: Path | None,
    tls_key: Path | None,
    child_of: int | None,
    as_json: bool,
) -> None:
    """Serve the HTTP API until SIGTERM or Ctrl-C. It logs JSON; to a terminal only with --json."""
    configure_logging(for_people=False if as_json else None)
    if child_of is not None:
        stop_when_orphaned(child_of)
    expect_traces_possible()
    configuration = read_configuration(configuration_path)
    tls = tls_of(configuration, tls_certificate, tls_key)
    unreachable = check_shards(configuration)
    for number, error in unreachable.items():
        _log.warning("serving the other shards", shard=number, error=str(error))
    asyncio.run(check_own_sessions(configuration, unreachable))
    for risk in [
        *risks_of_serving(configuration, unreachable),
        *risks_of_secrets(configuration, unreachable),
    ]:
        _log.warning(risk)
    os.environ[CONFIGURATION_VARIABLE] = str(configuration_path)
    connections_max = _allow_open_files()
    address, metrics_address = address_of(host), address_of(metrics_host)
    draining = Draining()
    server = _Server(
        "tallystick.api.app:create_app",
        draining=draining,
        drain_seconds=drain_seconds,
        address=address,
        port=port,
        interface=Interfaces.ASGI,
        # The server does not bound the decompressed headers of HTTP/2. A proxy in front may offer HTTP/2.
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(
            header_read_timeout=idle_seconds * 1_000, max_buffer_size=limits.HEADER_BYTES_MAX
        ),
        loop=Loops.uvloop,
        workers=workers,
        websockets=False,
        backlog=BACKLOG_CONNECTIONS_MAX,
        backpressure=connections_max,
        ssl_cert=None if tls is None else tls.certificate,
        ssl_key=None if tls is None else tls.key,
        ssl_protocol_min=SSLProtocols(f"tls{configuration.tls_minimum}"),
        log_level=LogLevels.warning,
        log_dictconfig=_SERVER_LOGGING,
        log_access=False,
        respawn_failed_workers=True,
        workers_kill_timeout=int(GRACE_SECONDS),
    )
    with ExitStack() as cleanup:
        if child_of is None:
            cleanup.enter_context(reserve_port(address, port))
        figures = None
        if metrics_port is not None:
            if child_of is None:
                reserve_port(metrics_address, metrics_port, METRICS_PORT_OPTION).close()
            figures = cleanup.enter_context(figures_folder())
            api = ApiAddress(address, port, tls=tls is not None)
            cleanup.enter_context(metrics_served(metrics_address, metrics_port, figures, api))
        _log.info(
            "serving",
            address=address,
            port=port,
            workers=workers,
            tls=tls is not None,
            metrics_address=metrics_address,
            metrics_port=metrics_port,
            configuration=str(configuration_path),
        )
        load = partial(
            _load,
            port,
            min(connections_per_address, connections_max // 2),
            idle_seconds,
            figures,
            draining,
        )
        # Loaded here, because the server's own loader puts the current folder first on the path of imports.
        server.serve(target_loader=load, wrap_loader=False)
    _log.info("stopped")


def _allow_open_files() -> int:
    """Raise the limit of open files to what the system allows; it is often 1,024 at first.

    Returns the clients' share.
    """
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    except (ValueError, OSError) as error:
        _log.warning("the number of open files cannot be raised", reason=str(error))
        most = now
    return min(limits.CONNECTIONS_PER_WORKER_MAX, max(most - limits.DESCRIPTORS_RESERVED, most // 2))


def _load(
    port: int,
    connections_per_address: int,
    idle_seconds: int,
    figures: Path | None,
    draining: Draining,
) -> Callable[..., Any]:
    """Make the application, in a worker."""
    if not logging.getLogger().handlers:
        configure_logging()  # this worker was spawned, not forked, and inherited no configuration
    stop_when_orphaned()
    guard_connections(port, connections_per_address)
    if figures is not None:
        keep_in_files(figures)
    return create_app(draining, body_seconds_max=idle_seconds)
