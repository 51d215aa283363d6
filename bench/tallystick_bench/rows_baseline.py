"""The baseline `rows`: one SQL transaction with row locks for each transfer, which is the usual design.

PostgreSQL's own pgbench makes the load. It is a program in C, so the generator is not the limit.
"""

import asyncio
import os
import re
from typing import Final

from psycopg.pq import Conninfo

from tallystick.embedded.postgres_binaries import find_binaries
from tallystick.embedded.server_account import ServerAccount
from tallystick_bench.errors import BenchError
from tallystick_bench.measurement import MeasuredTurn
from tallystick_bench.queries import script
from tallystick_bench.settings import ASSET, FUNDS_PER_ACCOUNT, Stint, Workload
from tallystick_bench.target import Target

CONNECTIONS_TRIED: Final = (8, 16, 32)
_TRIAL_SECONDS: Final = 1
_THREADS: Final = 2
_TRANSFERS: Final = re.compile(r"number of transactions actually processed: (\d+)")
_PER_SECOND: Final = re.compile(r"tps = ([0-9.]+)")
_STOP_SECONDS_MAX: Final = 5.0


class RowsBaseline:
    """One transaction for each transfer, over the number of connections that is fastest here.

    The statements are sent one by one, as an application does. Or (`in_a_function`) one call of a PL/pgSQL function
    runs all of them, which is the best that row locks can do, and less usual.
    """

    def __init__(self, target: Target, workload: Workload, accounts: int, *, in_a_function: bool) -> None:
        self._environment = {**os.environ, **_environment_of(target.owner_dsn)}
        self._program = find_binaries(ServerAccount("", os.geteuid(), os.getegid(), switches=False)).program(
            "pgbench"
        )
        self._script = script(
            f"payments_{workload}_in_a_function" if in_a_function else f"payments_{workload}"
        )
        self._accounts = accounts
        self.connections = CONNECTIONS_TRIED[0]

    @staticmethod
    def prepare(target: Target, accounts: int) -> None:
        """Make the tables and the accounts."""
        target.run("rows_tables")
        target.run("rows_accounts", {"asset": ASSET, "balance": FUNDS_PER_ACCOUNT, "accounts": accounts})
        target.run("rows_vacuum")

    async def choose_connections(self) -> None:
        """Find the number of connections with the highest throughput."""
        found: dict[int, float] = {}
        for connections in CONNECTIONS_TRIED:
            self.connections = connections
            found[connections] = (await self.run(Stint(seconds=_TRIAL_SECONDS))).per_second
        self.connections = max(found, key=lambda connections: found[connections])

    async def run(self, stint: Stint) -> MeasuredTurn:
        """Take one turn, in whole seconds, because pgbench counts in them."""
        process = await asyncio.create_subprocess_exec(
            self._program,
            "--no-vacuum",
            "--protocol=prepared",
            f"--client={self.connections}",
            f"--jobs={min(_THREADS, self.connections)}",
            f"--time={max(1, round(stint.seconds))}",
            f"--define=accounts={self._accounts}",
            f"--file={self._script}",
            env=self._environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            output, errors = await process.communicate()
        finally:
            if process.returncode is None:
                process.terminate()
                await asyncio.wait_for(process.wait(), _STOP_SECONDS_MAX)
        text = output.decode(errors="replace")
        transfers, per_second = _TRANSFERS.search(text), _PER_SECOND.search(text)
        if process.returncode != 0 or transfers is None:
            said = errors.decode(errors="replace").strip().splitlines()
            raise BenchError(f"pgbench failed: {said[-1] if said else 'it gave no reason'}")
        number = int(transfers[1])
        if per_second is None:
            # It needed all of its time to connect, and then reports no rate.
            return MeasuredTurn(number, max(1.0, stint.seconds))
        return MeasuredTurn(number, number / max(float(per_second[1]), 1e-9))


def _environment_of(dsn: str) -> dict[str, str]:
    """The address as libpq's environment variables, so that no list of processes shows the password."""
    return {
        option.envvar.decode(): option.val.decode()
        for option in Conninfo.parse(dsn.encode())
        if option.envvar and option.val
    }
