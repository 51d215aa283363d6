"""A process that has imported the command line, and forks for each command that `tests/forked.py` asks for.

A command that starts anew imports for half a second, on a core that the tests could use. What is forked is a process
like any other, with its own streams, environment, folder, signals and status.
"""

import gc
import importlib
import json
import multiprocessing
import os
import selectors
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final, NamedTuple

from tallystick.cli.main import main
from tallystick.domain import limits

IMPORTED: Final = (
    *(f"tallystick.cli.{name}" for name in ("accounts", "doctor", "errors", "keys", "migrate", "sagas")),
    *(f"tallystick.cli.{name}" for name in ("serve", "transfer", "verify", "verify_reports", "webhooks")),
    *("tallystick.service.engine", "tallystick.followers.webhooks.sending", "uvloop"),
)
REQUEST_BYTES_MAX: Final = 2**18
# The three streams, and a socket on which the number of the process and then its status are told.
DESCRIPTORS: Final = 4
_THREADS: Final = Path("/proc/self/task")


class _Child(NamedTuple):
    """A process that was forked: a descriptor that is readable when it has ended, and where its status is told."""

    pid: int
    ended: int
    told: socket.socket


class ForkServer:
    """Forks, tells how each process has ended, and waits for it when that was heard."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._waiting = selectors.DefaultSelector()
        self._waiting.register(control, selectors.EVENT_READ)
        self._children: set[_Child] = set()

    def next_command(self) -> dict[str, Any]:
        """Serve until the tests end. Returns in each new process, with what it was asked for."""
        while True:
            for key, _ in self._waiting.select():
                if key.fileobj is self._control:
                    command = self._fork()
                    if command is not None:
                        return command
                elif key.fd == key.data.ended:
                    self._tell_end(key.data)
                else:
                    self._forget(key.data)

    def _fork(self) -> dict[str, Any] | None:
        message, descriptors, _, _ = socket.recv_fds(self._control, REQUEST_BYTES_MAX, DESCRIPTORS)
        if not message:
            os._exit(0)  # there are no tests any more
        *streams, told = descriptors
        # What another thread holds at this moment would be held in the new process for ever.
        if _THREADS.is_dir() and len(list(_THREADS.iterdir())) != 1:
            sys.exit("another thread runs: it could hold what the new process needs")
        pid = os.fork()
        if pid == 0:
            os.close(told)
            self._close()
            command: dict[str, Any] = json.loads(message)
            _become(command, streams)
            return command
        for stream in streams:
            os.close(stream)
        child = _Child(pid, os.pidfd_open(pid), socket.socket(fileno=told))
        child.told.send(str(pid).encode())
        self._children.add(child)
        self._waiting.register(child.ended, selectors.EVENT_READ, child)
        return None

    def _close(self) -> None:
        """Keep nothing of the server in a new process."""
        self._waiting.close()
        self._control.close()
        for child in self._children:
            os.close(child.ended)
            child.told.close()

    def _tell_end(self, child: _Child) -> None:
        self._waiting.unregister(child.ended)
        how = os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert how is not None
        status = how.si_status if how.si_code == os.CLD_EXITED else -how.si_status
        child.told.send(str(status).encode())
        # Its number stays in use until the test has heard that.
        self._waiting.register(child.told, selectors.EVENT_READ, child)

    def _forget(self, child: _Child) -> None:
        self._waiting.unregister(child.told)
        os.waitpid(child.pid, 0)
        os.close(child.ended)
        child.told.close()
        self._children.remove(child)


def _become(command: dict[str, Any], streams: list[int]) -> None:
    """Be the process that was asked for, as far as a start would make it different."""
    if command["new_session"]:
        os.setsid()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(command["folder"])
    os.environ.clear()
    os.environ.update(command["environment"])
    time.tzset()
    tempfile.tempdir = None
    sys.argv = ["tallystick", *command["arguments"]]
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", 1, closefd=False, errors="backslashreplace")
    if command["limits"]:
        _change_limits(command["limits"])


def _change_limits(changed: dict[str, float]) -> None:
    """Let other bounds hold in this process, and in those that it starts."""
    multiprocessing.set_start_method("fork", force=True)
    for name, value in changed.items():
        if not hasattr(limits, name):
            sys.exit(f"there is no limit {name}")
        setattr(limits, name, value)


if __name__ == "__main__":
    for name in IMPORTED:
        importlib.import_module(name)
    # A collection in a new process would copy all that it shares with this one.
    gc.collect()
    gc.freeze()
    with socket.socket(fileno=int(sys.argv[1])) as controlled:
        ForkServer(controlled).next_command()
    main()
