"""What to measure, and the bounds of measuring."""

from enum import StrEnum
from math import ceil
from typing import Final, Literal

import msgspec

ASSET: Final = "USD"
AMOUNT_MINOR_UNITS_MAX: Final = 10_000
"""The largest payment, in minor units. The smallest is 1."""
FUNDS_PER_ACCOUNT: Final = 10**11
"""Enough that no wallet runs out: a refusal costs less than a payment."""
ACCOUNTS_MIN: Final = 10
ACCOUNTS_MAX: Final = 10_000_000

ROUNDS: Final = 5
TURN_SECONDS_MIN: Final = 0.5
TURN_SECONDS_MIN_OF_WRK: Final = 5.0
"""Long, because wrk does not wait for the last answers of a turn, and they are not counted."""
SLICE_TRANSFERS_MAX: Final = 200_000
WARM_UP_SECONDS: Final = 2.0
PAYMENTS_BESIDE_READS: Final = 100
"""Payments each second: a balance is read a hundred times for each change."""
LADDER_STEP: Final = 4
"""For a plot, each concurrency is this many times the one before."""


class Workload(StrEnum):
    """The payments. `reads`: balances are read. `neighbours`: one tenant is measured beside another's floods."""

    UNIFORM = "uniform"
    HOT = "hot"
    ZIPF = "zipf"
    CROSS = "cross"
    READS = "reads"
    NEIGHBOURS = "neighbours"


class Through(StrEnum):
    """The way of a transfer into the ledger."""

    ENGINE = "engine"
    PACKAGE = "package"
    HTTP = "http"
    HTTP_BATCH = "http-batch"


class Baseline(StrEnum):
    """What the ledger is compared with."""

    COPY = "copy"
    ROWS = "rows"


TENANT: Final = 1
CONCURRENCY_DEFAULT: Final = {
    Through.ENGINE: 4_000,
    Through.PACKAGE: 4_000,
    Through.HTTP: 64,
    Through.HTTP_BATCH: 8,
}


class Stint(msgspec.Struct, frozen=True):
    """How long one turn lasts: a time, or a number of transfers."""

    seconds: float = 0.0
    transfers: int = 0


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """One run of the benchmark."""

    workload: Workload
    through: Through
    concurrency: int
    accounts: int
    seconds: float
    transfers: int | None
    batch_size: int
    baselines: tuple[Baseline, ...]
    seed: int
    wrk: bool
    ladder: bool
    crossing: float = 1.0
    rate: int | None = None
    cross_shard: str = "saga"
    streams: int = 0
    cache: Literal["on", "off"] | None = None

    @property
    def rounds(self) -> int:
        """How many turns the measured load and each baseline take."""
        if self.transfers is not None:
            return max(1, ceil(self.transfers / SLICE_TRANSFERS_MAX))
        turn_seconds_min = TURN_SECONDS_MIN_OF_WRK if self.wrk else TURN_SECONDS_MIN
        return max(1, min(ROUNDS, int(self.seconds / turn_seconds_min)))

    @property
    def stint(self) -> Stint:
        """One turn of the measured load."""
        if self.transfers is not None:
            return Stint(transfers=ceil(self.transfers / self.rounds))
        return Stint(seconds=self.seconds / self.rounds)

    @property
    def warm_up(self) -> Stint:
        """The turn before the measurement."""
        return Stint(seconds=min(WARM_UP_SECONDS, self.seconds / 2))

    @property
    def step(self) -> Stint:
        """One turn at one concurrency of a plot. It is always a time, because one caller alone is slow."""
        return Stint(seconds=max(self.seconds / ROUNDS, TURN_SECONDS_MIN))

    @property
    def concurrencies(self) -> list[int]:
        """For a plot: 1 and upwards, to the concurrency of the run."""
        steps = [1]
        while steps[-1] * LADDER_STEP < self.concurrency:
            steps.append(steps[-1] * LADDER_STEP)
        return [*steps, self.concurrency] if self.concurrency > 1 else steps
