"""The program as people start it: real processes, waited for and ended by their number."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tallystick.embedded.postgres import EmbeddedPostgres
from tests.forked import run_forked
from tests.lives import lives

COMMAND = [sys.executable, "-P", "-m", "tallystick.cli"]
READY_TIMEOUT_SECONDS = 60.0
STOP_TIMEOUT_SECONDS = 90.0
COMMAND_TIMEOUT_SECONDS = 60.0


def environment(**more: str) -> dict[str, str]:
    """Our environment without what would reach into the program."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TALLYSTICK_")}
    return {**kept, **more}


def run(
    *arguments: str, folder: Path | None = None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a short command to its end."""
    return run_forked(
        arguments, folder=folder, env=environment(**(env or {})), timeout=COMMAND_TIMEOUT_SECONDS
    )


def run_anew(
    *arguments: str,
    folder: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout_seconds: float = COMMAND_TIMEOUT_SECONDS,
) -> subprocess.CompletedProcess[str]:
    """Run a short command to its end in a process that is started as a user starts it."""
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=folder,
        env=environment(**(env or {})),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_seconds,
        check=False,
    )


class Up:
    """A running `tallystick up`, in a session of its own; whatever is left of it at the end is killed."""

    def __init__(
        self, data: Path, port: int, *options: str, env: Mapping[str, str] | None = None, umask: int = 0o022
    ) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, "up", "--data", str(data), "--port", str(port), *options],
            env=environment(**(env or {})),
            umask=umask,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self.stdout = b""
        self.stderr = b""

    def read_until(self, end: bytes) -> str:
        """Read stdout until a line begins with this text, and return that line."""
        deadline = time.monotonic() + READY_TIMEOUT_SECONDS
        assert self.process.stdout is not None
        while True:
            for line in self.stdout.split(b"\n")[:-1]:
                if line.startswith(end):
                    return line.decode()
            assert select.select([self.process.stdout], [], [], max(0, deadline - time.monotonic()))[0]
            read = os.read(self.process.stdout.fileno(), 65_536)
            assert read, self._ended()
            self.stdout += read

    def ready(self) -> dict[str, Any]:
        """What it said with `--json` when it was ready."""
        answer: dict[str, Any] = json.loads(self.read_until(b"{"))
        return answer

    def wait_until_said(self, words: str, *, times: int = 1) -> None:
        """Read stderr until it has said this, so many times in all."""
        deadline = time.monotonic() + READY_TIMEOUT_SECONDS
        assert self.process.stderr is not None
        while self.stderr.decode().count(words) < times:
            assert select.select([self.process.stderr], [], [], max(0, deadline - time.monotonic()))[0]
            read = os.read(self.process.stderr.fileno(), 65_536)
            assert read, self._ended()
            self.stderr += read

    def end(self, number: signal.Signals = signal.SIGTERM, *, group: bool = False) -> int:
        """Send it a signal and wait for its end; return its exit status."""
        (os.killpg if group else os.kill)(self.process.pid, number)
        return self.wait()

    def wait(self) -> int:
        """Wait for its end; return its exit status, with all that it said in `stdout` and `stderr`."""
        stdout, stderr = self.process.communicate(timeout=STOP_TIMEOUT_SECONDS)
        self.stdout += stdout
        self.stderr += stderr
        return self.process.returncode

    def _ended(self) -> str:
        self.wait()
        return f"status {self.process.returncode}: {self.stderr.decode()}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        end_process(self.process)


def end_process(process: subprocess.Popen[bytes], *, timeout_seconds: float = STOP_TIMEOUT_SECONDS) -> None:
    """End a process if it runs, and kill it if it does not end in time. Its pipes are closed."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


def servers(data: Path) -> list[EmbeddedPostgres]:
    """The PostgreSQL servers of a data folder."""
    return [EmbeddedPostgres(folder) for folder in sorted(data.glob("postgres*")) if folder.is_dir()]


def request_to(
    ready: Mapping[str, Any], method: str, path: str, body: object = None, *, key: str | None = None
) -> urllib.request.Request:
    """A call to the API, under a key of its own unless it is named."""
    request = urllib.request.Request(f"{ready['url']}{path}", method=method)
    request.add_header("Authorization", f"Bearer {ready['api_key']}")
    if method != "GET":
        request.add_header("Idempotency-Key", key or uuid.uuid4().hex)
    if body is not None:
        request.add_header("Content-Type", "application/json")
        request.data = json.dumps(body).encode()
    return request


def call(
    ready: Mapping[str, Any], method: str, path: str, body: object = None, *, key: str | None = None
) -> tuple[int, dict[str, Any]]:
    """Make one call to the API, under a key of its own unless it is named; return its status and its answer."""
    request = request_to(ready, method, path, body, key=key)
    try:
        with urllib.request.urlopen(request, timeout=COMMAND_TIMEOUT_SECONDS) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def shell(line: str) -> str:
    """Run a line as a person pastes it."""
    done = subprocess.run(
        ["/bin/sh", "-c", line], capture_output=True, text=True, timeout=COMMAND_TIMEOUT_SECONDS, check=True
    )
    return done.stdout


def gone(pids: Sequence[int], *, timeout_seconds: float = 30.0) -> bool:
    """Whether none of these processes lives any more, or will after a moment."""
    deadline = time.monotonic() + timeout_seconds
    while any(lives(pid) for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def free_port() -> int:
    """A port that no program listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
