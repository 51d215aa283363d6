"""The rules: what each command does to the books, or why it is refused."""

from collections.abc import Callable
from typing import Any, Final

from tallystick.domain.books import Books
from tallystick.domain.commands import (
    CaptureHold,
    ChangeAccount,
    Command,
    ExpireHold,
    OpenAccount,
    PlaceHold,
    PostTransaction,
    Reverse,
    Transfer,
    VoidHold,
)
from tallystick.domain.outcomes import Outcome
from tallystick.domain.rules import accounts, holds, sagas, transfers
from tallystick.domain.saga_commands import Credit, Finalize, RefuseCredit, Release

RULES: Final[dict[type[Command], Callable[[Books, Any], Outcome]]] = {
    OpenAccount: accounts.open_account,
    ChangeAccount: accounts.change_account,
    Transfer: transfers.transfer,
    PostTransaction: transfers.post_transaction,
    Reverse: transfers.reverse,
    PlaceHold: holds.place_hold,
    CaptureHold: holds.capture_hold,
    VoidHold: holds.void_hold,
    ExpireHold: holds.expire_hold,
    Credit: sagas.credit,
    RefuseCredit: sagas.refuse_credit,
    Finalize: sagas.finalize,
    Release: sagas.release,
}
