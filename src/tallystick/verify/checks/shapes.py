"""The shape of each kind of transaction: which rows it has, and whether it refers to another."""

from typing import Final, NamedTuple

from tallystick.domain.commands import Kind
from tallystick.domain.limits import ENTRIES_PER_TRANSACTION_MAX

_NONE: Final = range(1)
_ONE: Final = range(1, 2)
_TWO: Final = range(2, 3)
_NONE_OR_ONE: Final = range(2)
_SEVERAL: Final = range(2, ENTRIES_PER_TRANSACTION_MAX + 1)
# A step of a saga has the clearing accounts of its assets on top of one side of what crosses, where it moves money.
_SIDE: Final = range(1, ENTRIES_PER_TRANSACTION_MAX)
_SIDE_AND_CLEARING: Final = range(2, 2 * ENTRIES_PER_TRANSACTION_MAX)


class Shape(NamedTuple):
    """How many rows of each table a kind of transaction has. `refers` None: it may refer to another."""

    entries: range
    refers: bool | None = False
    accounts: range = _NONE
    holds: range = _NONE
    sagas: range = _NONE

    def fits(self, refers_to: int | None, entries: int, accounts: int, holds: int, sagas: int) -> bool:
        """Whether a transaction with so many rows has this shape."""
        return (
            entries in self.entries
            and (self.refers is None or (refers_to is not None) == self.refers)
            and accounts in self.accounts
            and holds in self.holds
            and sagas in self.sagas
        )

    def __str__(self) -> str:
        counts = (
            (self.entries, "entries"),
            (self.accounts, "rows of accounts"),
            (self.holds, "rows of holds"),
            (self.sagas, "rows of sagas"),
        )
        refers = {True: "refers to another", False: "refers to no other", None: "may refer to another"}
        return (
            f"{', '.join(f'{_in_words(count)} {rows}' for count, rows in counts)} and {refers[self.refers]}"
        )


SHAPES: Final[dict[int, Shape]] = {
    int(Kind.ACCOUNT_OPENED): Shape(_NONE, accounts=_ONE),
    int(Kind.ACCOUNT_CHANGED): Shape(_NONE, accounts=_ONE),
    int(Kind.TRANSFER): Shape(_TWO),
    int(Kind.TRANSACTION): Shape(_SEVERAL),
    int(Kind.REVERSAL): Shape(_SEVERAL, refers=True),
    int(Kind.HOLD_PLACED): Shape(_ONE, holds=_ONE),
    int(Kind.HOLD_CAPTURED): Shape(_TWO, refers=True, holds=_ONE),
    int(Kind.HOLD_VOIDED): Shape(_ONE, refers=True, holds=_ONE),
    int(Kind.HOLD_EXPIRED): Shape(_ONE, refers=True, holds=_ONE),
    # The capture of a hold sets nothing more aside, and gives back only what the hold no longer keeps.
    int(Kind.TRANSFER_RESERVED): Shape(range(_SIDE.stop), refers=None, holds=_NONE_OR_ONE, sagas=_ONE),
    int(Kind.TRANSFER_CREDITED): Shape(_SIDE_AND_CLEARING, refers=True),
    int(Kind.TRANSFER_FINALIZED): Shape(_SIDE_AND_CLEARING, refers=True, holds=_NONE_OR_ONE, sagas=_ONE),
    int(Kind.TRANSFER_PROMISED): Shape(_SIDE_AND_CLEARING, refers=True),
    int(Kind.TRANSFER_CONFIRMED): Shape(_SIDE, refers=True),
    int(Kind.TRANSFER_REVOKED): Shape(_SIDE_AND_CLEARING, refers=True),
    int(Kind.TRANSFER_GIVEN_UP): Shape(_NONE, refers=True, sagas=_ONE),
    int(Kind.TRANSFER_SETTLED): Shape(_NONE, refers=True, sagas=_ONE),
    int(Kind.TRANSFER_RELEASED): Shape(range(_SIDE.stop), refers=True, holds=_NONE_OR_ONE, sagas=_ONE),
    int(Kind.TRANSFER_SENT): Shape(_TWO, refers=True),
    int(Kind.TRANSFER_RECEIVED): Shape(_TWO, refers=True),
    int(Kind.TRANSACTION_SENT): Shape(_SIDE_AND_CLEARING, refers=True),
    int(Kind.TRANSACTION_RECEIVED): Shape(_SIDE_AND_CLEARING, refers=True),
}


def _in_words(count: range) -> str:
    lowest, highest = count.start, count.stop - 1
    return str(lowest) if lowest == highest else f"{lowest} to {highest}"
