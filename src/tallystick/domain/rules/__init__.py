"""The rules: each command changes the books, or is refused for a reason."""

from collections.abc import Callable
from typing import Any, Final

from tallystick.domain.books import Books
from tallystick.domain.commands import (
    CaptureHold,
    ChangeAccount,
    ClaimKey,
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
from tallystick.domain.rules import accounts, holds, keys, saga_steps, split_saga_steps, transfers
from tallystick.domain.saga_commands import (
    Confirm,
    Credit,
    Finalize,
    GiveUp,
    Promise,
    RefuseCredit,
    Release,
    Revoke,
    Settle,
)

RULES: Final[dict[type[Command], Callable[[Books, Any], Outcome]]] = {
    ClaimKey: keys.claim_key,
    OpenAccount: accounts.open_account,
    ChangeAccount: accounts.change_account,
    Transfer: transfers.transfer,
    PostTransaction: transfers.post_transaction,
    Reverse: transfers.reverse,
    PlaceHold: holds.place_hold,
    CaptureHold: holds.capture_hold,
    VoidHold: holds.void_hold,
    ExpireHold: holds.expire_hold,
    Credit: saga_steps.credit,
    RefuseCredit: saga_steps.refuse_credit,
    Finalize: saga_steps.finalize,
    Release: saga_steps.release,
    Promise: split_saga_steps.promise,
    Confirm: split_saga_steps.confirm,
    Revoke: split_saga_steps.revoke,
    GiveUp: split_saga_steps.give_up,
    Settle: split_saga_steps.settle,
}
