"""The loads `http` and `http-batch`: requests to a real server, from a Python generator in a process of its own."""

import asyncio
import importlib.util
import sys
from array import array
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import msgspec

from tallystick_bench.errors import BenchError
from tallystick_bench.generator_messages import Order, Turn, TurnReport
from tallystick_bench.measurement import MeasuredTurn
from tallystick_bench.settings import Stint

_LINE_BYTES_MAX: Final = 2**30
_STOP_SECONDS_MAX: Final = 5.0
_BOTTLENECK: Final = (
    "the requests came from a generator written in Python, on the same cores: it is slower than the server, "
    "and what it reached is not the server's limit; measure that with --wrk"
)


class HttpLoad:
    """Connections in a closed loop: each sends its next request when the last one is answered."""

    generator = "Python (aiohttp), one process on this machine"

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.notes = [_BOTTLENECK]

    async def run(self, stint: Stint, concurrency: int) -> MeasuredTurn:
        """Take one turn. It ends with the last answer."""
        self.tell(Turn(stint.seconds, stint.transfers, concurrency))
        answer = await self._process.stdout.readline() if self._process.stdout is not None else b""
        if not answer:
            errors = await self._process.stderr.read() if self._process.stderr is not None else b""
            said = errors.decode(errors="replace").strip().splitlines()
            raise BenchError(f"the generator of requests ended: {said[-1] if said else 'it gave no reason'}")
        report = msgspec.json.decode(answer, type=TurnReport)
        latencies = array("d", report.latencies_seconds)
        return MeasuredTurn(report.done, report.seconds, latencies, report.refused, report.failed)

    def tell(self, message: Order | Turn) -> None:
        """Send one line to the generator."""
        if self._process.stdin is not None:
            self._process.stdin.write(msgspec.json.encode(message) + b"\n")


@asynccontextmanager
async def http_load(order: Order) -> AsyncIterator[HttpLoad]:
    """Start a generator; it is stopped at the end."""
    if importlib.util.find_spec("aiohttp") is None:
        raise BenchError("the package aiohttp is missing: install it, or use --wrk")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        "tallystick_bench.http_generator",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=_LINE_BYTES_MAX,
        start_new_session=True,
    )
    try:
        load = HttpLoad(process)
        load.tell(order)
        yield load
    finally:
        if process.returncode is None:
            process.terminate()
            await asyncio.wait_for(process.wait(), _STOP_SECONDS_MAX)
