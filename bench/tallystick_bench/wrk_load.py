"""The loads `http` and `http-batch`, and reads, made by wrk, a program in C that uses little of the machine."""

import asyncio
import os
import shutil
import tempfile
from array import array
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from math import ceil
from pathlib import Path
from typing import Final

import msgspec

from tallystick_bench.errors import BenchError
from tallystick_bench.generator_messages import Order
from tallystick_bench.measurement import MeasuredTurn
from tallystick_bench.payments import Payments
from tallystick_bench.settings import Stint

_SCRIPT: Final = Path(__file__).with_name("wrk.lua")
_PAYMENTS: Final = 200_000
"""wrk repeats a list of this many payments, each time with new keys."""
_THREADS: Final = 1
_REQUEST_SECONDS_MAX: Final = 30
_STOP_SECONDS_MAX: Final = 5.0
_MICROSECONDS: Final = 1e6
_NOTES: Final = (
    "wrk does not wait for the last answers of each turn: they are in the log and not counted as acknowledged",
    "wrk cannot tell a refusal from a failure: both are counted as refused",
)


class _WrkReport(msgspec.Struct):
    requests: int
    duration_us: int
    refused: int
    failed: int
    latencies_us: list[float]


class WrkLoad:
    """Connections in a closed loop. Turns are whole seconds, because wrk counts in them."""

    generator = "wrk, one thread on this machine"

    def __init__(self, program: str, order: Order, folder: Path) -> None:
        self._program = program
        self._order = order
        self._folder = folder
        self._turns = count(1)
        self.notes = [] if order.reads else list(_NOTES)

    async def run(self, stint: Stint, concurrency: int) -> MeasuredTurn:
        """Take one turn."""
        result_path = self._folder / "result.json"
        result_path.unlink(missing_ok=True)
        process = await asyncio.create_subprocess_exec(
            self._program,
            f"--threads={_THREADS}",
            f"--connections={concurrency}",
            f"--duration={max(1, ceil(stint.seconds))}s",
            f"--timeout={_REQUEST_SECONDS_MAX}s",
            f"--script={_SCRIPT}",
            self._order.url,
            "--",
            str(self._folder / "payments"),
            f"{self._order.recipe.run}-{next(self._turns)}",
            str(self._order.batch_size),
            "read" if self._order.reads else "pay",
            env={
                **os.environ,
                "TALLYSTICK_BENCH_API_KEY": self._order.api_key,
                "TALLYSTICK_BENCH_RESULT": str(result_path),
            },
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        try:
            _, errors = await process.communicate()
        finally:
            if process.returncode is None:
                process.terminate()
                await asyncio.wait_for(process.wait(), _STOP_SECONDS_MAX)
        if process.returncode != 0 or not result_path.is_file():
            said = errors.decode(errors="replace").strip().splitlines()
            raise BenchError(f"wrk failed: {said[-1] if said else 'it gave no reason'}")
        report = msgspec.json.decode(result_path.read_bytes(), type=_WrkReport)
        size = self._order.batch_size or 1
        return MeasuredTurn(
            (report.requests - report.refused) * size,
            report.duration_us / _MICROSECONDS,
            array("d", [found / _MICROSECONDS for found in report.latencies_us]),
            report.refused * size,
            report.failed * size,
        )


@asynccontextmanager
async def wrk_load(order: Order) -> AsyncIterator[WrkLoad]:
    """Write the payments into a file that wrk reads."""
    program = shutil.which("wrk")
    if program is None:
        raise BenchError(
            "wrk is missing: install it (on Debian and Ubuntu: apt install wrk), or leave --wrk out"
        )
    with tempfile.TemporaryDirectory(prefix="tallystick-bench-wrk-") as folder:
        payments = Payments(order.recipe).take(_PAYMENTS)
        lines = [f"{source} {destination} {amount}\n" for source, destination, amount, _ in payments]
        (Path(folder) / "payments").write_text("".join(lines), encoding="ascii")
        yield WrkLoad(program, order, Path(folder))
