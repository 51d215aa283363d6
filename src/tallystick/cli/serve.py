"""`tallystick serve`: the HTTP API on databases that exist."""

import logging
import os
import resource
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Final

import click
import structlog
from granian import Granian
from granian.constants import Interfaces, Loops
from granian.log import LogLevels

from tallystick.api.app import create_app
from tallystick.cli.options import configuration_option, json_option
from tallystick.cli.ports import PORT_MAX, address_of, reserve_port
from tallystick.domain import limits
from tallystick.service.configuration import CONFIGURATION_VARIABLE, read_configuration
from tallystick.service.logging import configure_logging
from tallystick.service.migration import check_shards
from tallystick.service.parent import GRACE_SECONDS, stop_when_orphaned

BACKLOG_CONNECTIONS_MAX: Final = 1024
# Beyond this a worker accepts nothing, not even the question whether it lives. Streams hold a connection each.
CONNECTIONS_PER_WORKER_MAX: Final = limits.STREAMS_MAX + 8_192
WORKERS_MAX: Final = 64

# The server's own messages go where all others go, in the same shape.
_SERVER_LOGGING: Final[dict[str, Any]] = {
    "handlers": {},
    "formatters": {},
    "loggers": {"_granian": {"level": "WARNING"}, "granian.access": {"level": "WARNING"}},
}

_log = structlog.get_logger(__name__)


class _Server(Granian):  # type: ignore[misc, valid-type]
    """The HTTP server, which needs no signal to follow the configuration file."""

    def signal_handler_reload(self, *_: object) -> None:
        """Start no new workers on SIGHUP, as the server would: with a wrong file none could start."""
        _log.info("the configuration file is followed: no signal is needed")


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
@click.option("--child-of", type=int, hidden=True, help="Who started us and holds the port; stop with it.")
@json_option
def serve(
    *, configuration_path: Path, host: str, port: int, workers: int, child_of: int | None, as_json: bool
) -> None:
    """Serve the HTTP API until SIGTERM or Ctrl-C. It logs JSON, but to a terminal only with --json."""
    configure_logging(for_people=False if as_json else None)
    if child_of is not None:
        stop_when_orphaned(child_of)
    configuration = read_configuration(configuration_path)
    for number, error in check_shards(configuration).items():
        _log.warning("serving the other shards", shard=number, error=str(error))
    os.environ[CONFIGURATION_VARIABLE] = str(configuration_path)
    _allow_open_files()
    address = address_of(host)
    server = _Server(
        "tallystick.api.app:create_app",
        address=address,
        port=port,
        interface=Interfaces.ASGI,
        loop=Loops.uvloop,
        workers=workers,
        websockets=False,
        backlog=BACKLOG_CONNECTIONS_MAX,
        backpressure=CONNECTIONS_PER_WORKER_MAX,
        log_level=LogLevels.warning,
        log_dictconfig=_SERVER_LOGGING,
        log_access=False,
        respawn_failed_workers=True,
        workers_kill_timeout=int(GRACE_SECONDS),
    )
    with nullcontext() if child_of is not None else reserve_port(address, port):
        _log.info(
            "serving", address=address, port=port, workers=workers, configuration=str(configuration_path)
        )
        # Loaded by us: the server's own way puts the current folder first on the path of imports.
        server.serve(target_loader=_load, wrap_loader=False)
    _log.info("stopped")


def _allow_open_files() -> None:
    """Open as many connections as the system allows at all: what it allows at first is often 1,024."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    except (ValueError, OSError) as error:
        _log.warning("the number of open files cannot be raised", reason=str(error))


def _load() -> Callable[..., Any]:
    """Make the application, in a worker."""
    if not logging.getLogger().handlers:
        configure_logging()  # this worker was spawned and not forked, and inherited nothing
    stop_when_orphaned()
    return create_app()
