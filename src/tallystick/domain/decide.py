"""Decide a batch: answer the commands in order, and return the rows to append.

`Deciding` does no input or output. A refused command changes nothing but the record of its key, and does not affect
the other commands of the batch. The commands of one `Atomic` are all posted or all refused.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

import msgspec

from tallystick.domain.accounts import AccountState
from tallystick.domain.books import Books
from tallystick.domain.commands import Command, RequestKey, Transfer
from tallystick.domain.fingerprint import differing_field
from tallystick.domain.holds import HoldState
from tallystick.domain.outcomes import Outcome, Posted, RefusalCode, Refused, not_kept, refuse
from tallystick.domain.rows import Appended, RequestRow, written_asked
from tallystick.domain.rules import RULES
from tallystick.domain.rules.system_accounts import with_opened
from tallystick.domain.sagas import SagaState
from tallystick.domain.snapshot import RecordedRequest, Snapshot

Rule = Callable[[Books, Any], Outcome]


_new_request = partial(tuple.__new__, RequestRow)


class Atomic(msgspec.Struct, frozen=True):
    """Commands that are all posted or all refused."""

    commands: tuple[Command, ...]


def commands_of(units: Sequence[Command | Atomic]) -> list[Command]:
    """All commands of these units, in order."""
    commands: list[Command] = []
    for unit in units:
        if isinstance(unit, Atomic):
            commands.extend(unit.commands)
        else:
            commands.append(unit)
    return commands


class Decision(NamedTuple):
    """The outcomes (one for each command, in order), the rows to append, and the states after them.

    `entry_starts` is the index of the first entry of each transaction. `refused_tenants` has the tenant of each
    recorded refusal. `requests`, `holds` and `sagas` are the newest states of all that were known or changed.
    """

    outcomes: list[Outcome]
    appended: Appended
    accounts: dict[int, AccountState]
    holds: dict[int, HoldState]
    sagas: dict[int, SagaState]
    requests: dict[bytes, RecordedRequest]
    first_position: int
    last_position: int
    entry_starts: list[int]
    refused_tenants: list[int]


# They are not recorded, so a request with the same key can succeed later.
PASSING: Final = frozenset(
    {RefusalCode.HOLD_BUSY, RefusalCode.SHARD_UNAVAILABLE, RefusalCode.PRECONDITION_FAILED}
)
NOTHING_DECIDED: Final = Decision([], Appended([], [], [], [], [], []), {}, {}, {}, {}, 1, 0, [], [])


class Deciding:
    """One batch, decided in steps, so that its caller can do other work in between."""

    def __init__(self, snapshot: Snapshot, now_us: int) -> None:
        """Begin a batch.

        Args:
            snapshot: the head of the log and all that the commands refer to.
            now_us: the server's clock, in microseconds since 1970 in UTC; not earlier than the head.
        """
        self._books = Books(snapshot, now_us)
        self._outcomes: list[Outcome] = []

    @property
    def now_us(self) -> int:
        """The time of the decision: the server's clock, in microseconds since 1970 in UTC."""
        return self._books.now_us

    @property
    def books(self) -> Books:
        """The state after the commands that were answered so far."""
        return self._books

    def steps(self, units: Sequence[Command | Atomic], size: int) -> Iterator[None]:
        """Answer the next commands, in order. Yields between steps of `size` commands, also within a group.

        `units`: single commands, and groups of commands that are all posted or all refused.
        """
        for start in range(0, len(units), size):
            if start:
                yield
            for unit in units[start : start + size]:
                if isinstance(unit, Atomic):
                    yield from self._steps_of_group(unit, size)
                else:
                    self._outcomes.append(self.answer(unit))

    def decision(self) -> Decision:
        """The decision about all commands that were taken."""
        books = self._books
        return Decision(
            self._outcomes,
            books.appended,
            books.accounts,
            books.holds,
            books.sagas,
            books.requests,
            books.head.last_position + 1,
            books.position,
            books.entry_starts,
            books.refused_tenants,
        )

    # One command and its key, and groups of commands.

    def answer(self, command: Command, rule: Rule | None = None) -> Outcome:
        """Answer one command.

        The answer is the recorded outcome if its key was used before, otherwise that of `rule` or its own rule.
        """
        books, request = self._books, command.request
        if request is not None and (recorded := books.requests.get(request.key)) is not None:
            return _replay(recorded, request)
        act = rule or RULES[type(command)]
        if command.opens:
            outcome = with_opened(books, command.tenant, command.opens, lambda: act(books, command))
        else:
            outcome = act(books, command)
        return outcome if request is None else self._kept(command.tenant, request, outcome)

    def _steps_of_group(self, group: Atomic, size: int) -> Iterator[None]:
        """Answer a group. If one command is refused, none is posted."""
        before = self._books.save()
        commands = group.commands
        outcomes: list[Outcome] = []
        for start in range(0, len(commands), size):
            if start:
                yield
            outcomes += [
                self.answer(command) if self._is_local(command) else self._refuse_crossing(command)
                for command in commands[start : start + size]
            ]
        stands = all(map(self._is_local, commands))
        if stands and not any(isinstance(outcome, Refused) for outcome in outcomes):
            self._outcomes += outcomes
            return
        self._books.restore(before)
        for start in range(0, len(commands), size):
            if start:
                yield
            part = slice(start, start + size)
            self._outcomes += map(self._refuse_with_group, commands[part], outcomes[part])

    def _is_local(self, command: Command) -> bool:
        return not isinstance(command, Transfer) or self._books.is_local(command.destination)

    def _refuse_crossing(self, command: Command) -> Outcome:
        """Refuse a command of a group that needs another shard."""
        request = command.request
        if request is not None and (recorded := self._books.requests.get(request.key)) is not None:
            return _replay(recorded, request)
        return refuse(RefusalCode.CROSSES_TOO_MANY_SHARDS, "destination")

    def _refuse_with_group(self, command: Command, outcome: Outcome) -> Outcome:
        request = command.request
        if request is not None and (recorded := self._books.requests.get(request.key)) is not None:
            return _replay(recorded, request)
        if isinstance(outcome, Posted):
            outcome = refuse(RefusalCode.ATOMIC_BATCH_REFUSED)
        return outcome if request is None else self._kept(command.tenant, request, outcome)

    def _kept(self, tenant: int, request: RequestKey, outcome: Outcome) -> Outcome:
        """Record an outcome under its key, unless it is a refusal that is not recorded."""
        if isinstance(outcome, Refused):
            if outcome.code in PASSING:
                return outcome
            if not request.keeps_refusal:
                return not_kept(outcome)
            if outcome.code is not RefusalCode.IDEMPOTENCY_KEY_CLAIMED:
                self._books.refused_tenants.append(tenant)
        self._record(request, outcome)
        return outcome

    def _record(self, request: RequestKey, outcome: Outcome) -> None:
        books, key, fingerprint = self._books, request.key, request.fingerprint
        books.requests[key] = RecordedRequest(fingerprint, outcome)
        if isinstance(outcome, Posted):
            param, detail = (None, None) if outcome.asked is None else written_asked(outcome.asked)
            row = _new_request((key, outcome.position, None, None, param, detail, fingerprint))
        else:
            number = books.head.number + 1
            row = RequestRow(key, None, number, outcome.code, outcome.param, outcome.detail, fingerprint)
        books.appended.requests.append(row)


def _replay(recorded: RecordedRequest, request: RequestKey) -> Outcome:
    if recorded.fingerprint != request.fingerprint:
        field = differing_field(recorded.fingerprint, request.fingerprint)
        return refuse(RefusalCode.IDEMPOTENCY_KEY_REUSED, field)
    return msgspec.structs.replace(recorded.outcome, replayed=True)
