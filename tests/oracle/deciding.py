"""Decides a batch as what writes a log does, at once or in steps."""

from collections.abc import Sequence

from tallystick.domain.commands import Command
from tallystick.domain.decide import Atomic, Deciding, Decision
from tallystick.domain.limits import DECIDED_COMMANDS_AT_A_TIME
from tallystick.domain.snapshot import Snapshot


def decide(
    snapshot: Snapshot,
    units: Sequence[Command | Atomic],
    now_us: int,
    *,
    at_a_time: int = DECIDED_COMMANDS_AT_A_TIME,
) -> Decision:
    """The decision about all commands, taken in steps of so many."""
    deciding = Deciding(snapshot, now_us)
    for _ in deciding.steps(units, at_a_time):
        pass
    return deciding.decision()
