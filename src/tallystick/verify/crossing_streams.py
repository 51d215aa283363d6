"""Reads the records of transfers between shards while servers run. No snapshot covers several shards.

Each shard is read as of three moments. Every shard's first moment comes before every shard's second moment, and that
before every third moment. The addresses must be those of primaries: a standby may show an earlier moment than the one
in which it was asked.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from heapq import merge
from itertools import groupby
from operator import attrgetter
from typing import Final, Self, TypeVar

from tallystick.domain.derived_accounts import Derivation
from tallystick.domain.limits import LOCAL_NUMBER_MAX
from tallystick.store.errors import ShardUnavailableError
from tallystick.verify.comparison import Heads
from tallystick.verify.crossing_rows import (
    ClearingBalance,
    CrossingRecord,
    SagaRecord,
    SentHalf,
    read_clearing_balance,
    read_credits,
    read_refused_credits,
    read_reversed_credit,
    read_saga_record,
    read_sent_halves,
)
from tallystick.verify.streams import Moment

Row = TypeVar("Row")

_CROSSING: Final = attrgetter("crossing")


class ShardLostError(ShardUnavailableError):
    """One of several shards cannot be reached, or was lost meanwhile. `shard` is its number."""

    def __init__(self, shard: int, reason: str) -> None:
        super().__init__(reason)
        self.shard = shard


class CrossingStreams:
    """The records of shards as payers, then as payees, then as payers of sagas that began in between.

    A context manager, in which `read_payers`, `read_payees` and `read_latest` choose the moments, in this order; then
    `crossings` and `clearing_balances` may be read. Every method raises ShardLostError.
    """

    def __init__(self, dsns: Mapping[int, str]) -> None:
        """`dsns` are the databases of the shards that are compared, by number."""
        self._dsns = dsns
        self._open = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as failing:
            failing.push(self._open)
            self._payers = self._connect()
            self._payees = self._connect()
            self._latest = self._connect()
            failing.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    @property
    def heads(self) -> Heads:
        """The position of each shard's head at each of its moments, and what it lost before restores."""
        lost = {}
        for shard, moment in self._latest.items():
            with _lost(shard):
                lost[shard] = [one.positions for one in moment.lost_ranges().values()]
        return Heads(_heads(self._payers), _heads(self._payees), _heads(self._latest), lost)

    @property
    def derivations(self) -> dict[int, Derivation]:
        """The inputs for deriving the accounts of each shard that the ledger opens by itself."""
        found = {}
        for shard, moment in self._payers.items():
            with _lost(shard):
                found[shard] = moment.derivation(shard)
        return found

    def read_payers(self) -> None:
        """Choose the first moment of each shard."""
        _take(self._payers)

    def read_payees(self) -> None:
        """Choose the second moment of each shard.

        Sagas that have ended for the payers by now were credited before this.
        """
        _take(self._payees)

    def read_latest(self) -> None:
        """Choose the third moment of each shard. Sagas that were credited by now began before this."""
        _take(self._latest)

    def crossings(self) -> Iterator[tuple[int, Iterator[CrossingRecord]]]:
        """Each crossing, by its identifier, with the records of all shards about it."""
        streams: list[Iterator[CrossingRecord]] = [self._records(), self._sent_halves()]
        for shard, moment in self._payees.items():
            rows = moment.rows
            streams += [
                _of(shard, read_credits(rows("verify_credits"), shard)),
                _of(shard, read_refused_credits(rows("verify_refused_credits"), shard)),
                _of(shard, (read_reversed_credit(row, shard) for row in rows("verify_reversed_credits"))),
            ]
        yield from groupby(merge(*streams, key=_CROSSING), _CROSSING)

    def clearing_balances(self) -> Iterator[ClearingBalance]:
        """The clearing accounts of all shards, as of their first moments."""
        for shard, moment in self._payers.items():
            yield from _of(shard, map(read_clearing_balance, moment.rows("verify_clearing")))

    def _records(self) -> Iterator[SagaRecord]:
        for shard, latest, rows in self._of_payers("verify_saga_records"):
            yield from _of(shard, (read_saga_record(row, shard, latest=latest) for row in rows))

    def _sent_halves(self) -> Iterator[SentHalf]:
        for shard, latest, rows in self._of_payers("verify_sent"):
            yield from _of(shard, read_sent_halves(rows, shard, latest=latest))

    def _of_payers(self, name: str) -> Iterator[tuple[int, bool, Iterator[bytes]]]:
        """Rows of each payers' shard: those of the first moment, and then those that began before the third."""
        for shard, moment in sorted(self._payers.items()):
            head = moment.head_position
            yield shard, False, moment.rows(name, (0, head))
            yield shard, True, self._latest[shard].rows(name, (head, LOCAL_NUMBER_MAX))

    def _connect(self) -> dict[int, Moment]:
        moments = {}
        for shard, dsn in self._dsns.items():
            with _lost(shard):
                moments[shard] = Moment(dsn, self._open)
        return moments


def _take(moments: Mapping[int, Moment]) -> None:
    for shard, moment in moments.items():
        with _lost(shard):
            moment.take()


def _heads(moments: Mapping[int, Moment]) -> dict[int, int]:
    return {shard: moment.head_position for shard, moment in moments.items()}


def _of(shard: int, rows: Iterator[Row]) -> Iterator[Row]:
    """The same rows. If they cannot be read to their end, the error names their shard."""
    with _lost(shard):
        yield from rows


@contextmanager
def _lost(shard: int) -> Iterator[None]:
    try:
        yield
    except ShardUnavailableError as error:
        raise ShardLostError(shard, str(error)) from error
