"""The server that HTTP loads are sent to: `tallystick serve` in a process of its own."""

import asyncio
import os
import secrets
import socket
import subprocess  # nosec B404  # only to start programs of ours, without a shell
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from typing import Final, NamedTuple

import psutil

from tallystick.domain import limits
from tallystick.service.configuration import (
    CONFIGURATION_VARIABLE,
    Configuration,
    ShardConfiguration,
    write_configuration,
)
from tallystick_bench.errors import BenchError
from tallystick_bench.target import Target

_HOST: Final = "127.0.0.1"
_READY_SECONDS_MAX: Final = 30.0
_STOP_SECONDS_MAX: Final = 30.0
_ANSWER_SECONDS_MAX: Final = 2.0
_POLL_SECONDS: Final = 0.05

# Proxies that the environment names are not used for this machine.
_opener: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class BenchedServer(NamedTuple):
    """A server that runs: its address, and the process that its workers belong to."""

    url: str
    process: int

    def memory_bytes(self) -> int:
        """The memory of the server and its workers. Shared memory counts once."""
        parent = psutil.Process(self.process)
        return sum(one.memory_full_info().pss for one in (parent, *parent.children(recursive=True)))


@asynccontextmanager
async def api_server(target: Target) -> AsyncIterator[BenchedServer]:
    """Serve a target's shard on a free port of this machine."""
    with tempfile.TemporaryDirectory(prefix="tallystick-bench-api-") as folder, _free_port() as holder:
        configuration_path = Path(folder) / "tallystick.toml"
        shard = ShardConfiguration(target.shard, target.dsn, target.owner_dsn)
        write_configuration(
            configuration_path,
            # All streams that are measured, and that of a probe, are one tenant's.
            Configuration(
                [shard],
                cache=target.cache,
                cache_key=secrets.token_hex(),
                streams_per_tenant=limits.STREAMS_MAX,
            ),
        )
        port = holder.getsockname()[1]
        log_path = Path(folder) / "api.log"
        process = _start(configuration_path, port, log_path)
        url = f"http://{_HOST}:{port}"
        try:
            await _until_ready(process, url, log_path)
            yield BenchedServer(url, process.pid)
        finally:
            process.terminate()
            try:
                await asyncio.to_thread(process.wait, _STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                process.kill()


def _free_port() -> socket.socket:
    """Reserve a port that only the server can join."""
    holder = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    holder.bind((_HOST, 0))
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    return holder


def _start(configuration_path: Path, port: int, log_path: Path) -> subprocess.Popen[bytes]:
    # -P keeps the current folder, which may hold anything, off the path of imports.
    command = [sys.executable, "-P", "-m", "tallystick.cli", "serve"]
    command += ["--host", _HOST, "--port", str(port), "--child-of", str(os.getpid())]
    with log_path.open("wb") as log:
        return subprocess.Popen(  # nosec B603  # noqa: S603 - the program is ours and there is no shell
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, CONFIGURATION_VARIABLE: str(configuration_path)},
            start_new_session=True,
        )


async def _until_ready(process: subprocess.Popen[bytes], url: str, log_path: Path) -> None:
    deadline = time.monotonic() + _READY_SECONDS_MAX
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise BenchError(f"the API server ended: {_last_line(log_path)}")
        if await asyncio.to_thread(_ready, url):
            return
        await asyncio.sleep(_POLL_SECONDS)
    raise BenchError("the API server was not ready in time: try again when the machine is less busy")


def _last_line(path: Path) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "its log is empty"


def _ready(url: str) -> bool:
    try:
        with _opener.open(f"{url}/readyz?all", timeout=_ANSWER_SECONDS_MAX) as answer:
            return bool(answer.status == HTTPStatus.OK)
    except (OSError, HTTPException):
        return False
