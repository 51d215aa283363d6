"""The state after each position: accounts, holds, sagas and promises. Each is judged when it changes."""

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Final

from tallystick.domain.commands import PROMISE_KINDS, SAGA_KINDS
from tallystick.domain.derived_accounts import Derivation
from tallystick.verify.checks.accounts import Accounts, name
from tallystick.verify.checks.holds import Holds
from tallystick.verify.checks.sagas import Sagas
from tallystick.verify.checks.sides import CLEARING_KINDS, CREDIT_KINDS, SENT, Promises, Sides
from tallystick.verify.problems import Findings, FoundProblem, ProblemKind
from tallystick.verify.rows import Posting

# The kinds of one side of a transfer between shards, which have no row of a saga.
_SIDES: Final = CREDIT_KINDS | SENT


class LogState:
    """The checks that depend on earlier rows of the log, and their state."""

    def __init__(self, derivation: Derivation, findings: Findings) -> None:
        shard = derivation.shard
        self.accounts = Accounts(derivation, findings)
        self.holds = Holds(shard, self.accounts, findings)
        self.sides = Sides(shard, self.accounts, findings)
        self.sagas = Sagas(shard, self.accounts, self.holds, self.sides, findings)
        self.promises = Promises(shard, self.sides, findings)

    def judge(self, posting: Posting) -> None:
        """Judge a transaction against the state, and change the state."""
        transaction, entries, accounts, holds, sagas = posting
        kind, tenant = transaction.kind, transaction.tenant
        clears = kind in CLEARING_KINDS
        for entry in entries:
            self.accounts.enter(tenant, entry, clears=clears)
        for account in accounts:
            self.accounts.change(transaction, account)
        if kind in SAGA_KINDS:
            for saga in sagas:
                self.sagas.change(transaction, saga, holds, entries)
        else:
            for hold in holds:
                self.holds.change(transaction, hold, entries)
        if kind in _SIDES:
            self.sides.judge(transaction, entries)
        elif kind in PROMISE_KINDS:
            self.promises.judge(transaction, entries)


# Checks at the end of the log.


def held_is_what_is_left(state: LogState, last_position: int) -> Iterator[FoundProblem]:
    """What is held of each account is what is left of its open holds, sagas and promises."""
    left: Counter[int] = Counter()
    for account, amount in chain(
        state.holds.set_aside(), state.sagas.set_aside(), state.promises.set_aside()
    ):
        left[account] += amount
    for account, held in state.accounts.held():
        if held != left[account]:
            detail = (
                f"account {name(account)} has {held} held at the end of the log, "
                f"but {left[account]} is left of its open holds, sagas and promises"
            )
            yield FoundProblem(ProblemKind.HELD_WRONG, last_position, detail)


def open_sagas_can_end(state: LogState, last_position: int) -> Iterator[FoundProblem]:
    """An open saga can be finalized: its clearing accounts can be opened, and the hold that it captures waits."""
    for detail in state.sagas.stuck():
        yield FoundProblem(ProblemKind.SAGA_STUCK, last_position, detail)


def open_holds_can_end(state: LogState, last_position: int) -> Iterator[FoundProblem]:
    """A hold that is being captured to another shard has an open saga that captures it."""
    for detail in state.holds.stuck(state.sagas.captured()):
        yield FoundProblem(ProblemKind.HOLD_STUCK, last_position, detail)


def balances_sum_to_zero(state: LogState, last_position: int) -> Iterator[FoundProblem]:
    """All balances of the shard sum to zero, for each tenant and asset."""
    for (tenant, asset), total in state.accounts.sums().items():
        if total:
            detail = f"all balances of tenant {tenant} sum to {total} in {asset} at the end of the log, not to zero"
            yield FoundProblem(ProblemKind.SHARD_UNBALANCED, last_position, detail)


END_CHECKS: Final[tuple[Callable[[LogState, int], Iterator[FoundProblem]], ...]] = (
    held_is_what_is_left,
    open_sagas_can_end,
    open_holds_can_end,
    balances_sum_to_zero,
)
