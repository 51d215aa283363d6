"""What this process knows of a shard: whether it is there, whether it answers, and whether it takes what is written.

It is told by those who find out: the batcher, and the pulse. Probes are told of it, and requests that would wait.
"""

import time
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, NamedTuple

from tallystick.domain import limits
from tallystick.ledger import metrics


class State(StrEnum):
    """How a shard is. Of several troubles the one that comes first here is told."""

    AWAY = "away"
    SILENT = "silent"
    FAILING = "failing"
    UP = "up"


class Seen(NamedTuple):
    """How a shard is, since when, and why if it is not up."""

    state: State
    since: datetime
    reason: str | None


class _Trouble(NamedTuple):
    since: datetime
    reason: str
    last_seen: float


_TROUBLES: Final = (State.AWAY, State.SILENT, State.FAILING)


class Condition:
    """The condition of one shard, as far as this process knows."""

    def __init__(self, shard: int) -> None:
        self._up = metrics.SHARD_UP.labels(str(shard))
        self._up_since = datetime.now(UTC)
        self._troubles: dict[State, _Trouble] = {}
        self.begins(State.AWAY, "it was not connected to yet")

    @property
    def silent(self) -> bool:
        """Whether it holds connections and does not answer: a request to it would wait."""
        return State.SILENT in self._troubles

    def begins(self, state: State, reason: str) -> None:
        """Note that a trouble began, or goes on."""
        known = self._troubles.get(state)
        since = datetime.now(UTC) if known is None else known.since
        self._troubles[state] = _Trouble(since, reason, time.monotonic())
        self._up.set(0)

    def is_over(self, state: State) -> None:
        """Note that a trouble is over, if there was any."""
        if self._troubles.pop(state, None) is None:
            return
        if state is State.AWAY:
            # What failed before says nothing of a shard that is back.
            self._troubles.pop(State.FAILING, None)
        if not self._troubles:
            self._up_since = datetime.now(UTC)
            self._up.set(1)

    def forget_old_failures(self) -> None:
        """What was not written a while ago says nothing of what could be now, if nothing was tried since."""
        failing = self._troubles.get(State.FAILING)
        if failing is not None and time.monotonic() > failing.last_seen + limits.FAILING_SECONDS_MAX:
            self.is_over(State.FAILING)

    def seen(self) -> Seen:
        """How the shard is now."""
        for state in _TROUBLES:
            if (trouble := self._troubles.get(state)) is not None:
                return Seen(state, trouble.since, trouble.reason)
        return Seen(State.UP, self._up_since, None)
