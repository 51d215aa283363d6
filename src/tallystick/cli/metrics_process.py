"""The process that serves the operators' port, beside the process that forks the workers.

What another thread has locked during a fork, such as a module that it imports, stays locked in the worker for ever.
So nothing is served in the process that forks.
"""

import os
import socket
import subprocess  # nosec B404  # only to start programs of ours, without a shell
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import structlog

from tallystick.api import metrics_server
from tallystick.background.alarms import Alarm, raise_alarm

_RETRY_SECONDS: Final = 1.0

_log = structlog.get_logger(__name__)


@contextmanager
def metrics_served(host: str, port: int, folder: Path, api: metrics_server.ApiAddress) -> Iterator[None]:
    """Serve what the workers of a folder count, and whether the API is well, in a process that is replaced.

    A port that is taken raises an alarm, and is tried again until it is free.
    """
    process = _MetricsProcess(host, port, folder, api)
    try:
        yield
    finally:
        process.stop()


class _MetricsProcess:
    """A listening socket, and the process that serves it.

    The thread that replaces the process does little else than wait, because workers are forked beside it.
    """

    def __init__(self, host: str, port: int, folder: Path, api: metrics_server.ApiAddress) -> None:
        self._address = (host, port)
        self._folder = folder
        self._api = api
        self._stopping = threading.Event()
        self._changing = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._listener: socket.socket | None = None
        # A worker that outlives this process must not keep the port, nor the process that serves it.
        os.register_at_fork(after_in_child=self._let_go)
        # Here and not in the thread, so that a scrape is served as soon as the workers are ready.
        self._listen()
        if self._started() is None:
            raise_alarm(_log, Alarm.METRICS_PORT_TAKEN, host=host, port=port)
        self._thread = threading.Thread(target=self._keep, name="metrics", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the process, and free the port."""
        with self._changing:
            self._stopping.set()
            self._let_go()
        self._thread.join()

    def _keep(self) -> None:
        while self._listener is None and not self._stopping.wait(_RETRY_SECONDS):
            self._listen()
        while process := self._process or self._started():
            process.wait()
            self._process = None
            self._stopping.wait(_RETRY_SECONDS)

    def _listen(self) -> None:
        """Listen, unless the port is taken."""
        host, _ = self._address
        with suppress(OSError):
            self._listener = socket.create_server(
                self._address, family=socket.AF_INET6 if ":" in host else socket.AF_INET
            )

    def _started(self) -> subprocess.Popen[bytes] | None:
        """Start the process, if the port is ours and this one does not stop.

        It ends when its input ends, so it cannot outlive this one.
        """
        with self._changing:
            if self._listener is None or self._stopping.is_set():
                return None
            listener = self._listener.fileno()
            self._process = subprocess.Popen(  # nosec B603  # noqa: S603 - our own program, and there is no shell
                [
                    *(sys.executable, "-P", "-m", metrics_server.__name__, str(listener), str(self._folder)),
                    *(self._api.host, str(self._api.port), "tls" if self._api.tls else "plain"),
                ],
                stdin=subprocess.PIPE,
                pass_fds=[listener],
            )
            return self._process

    def _let_go(self) -> None:
        if self._listener is not None:
            self._listener.close()
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
