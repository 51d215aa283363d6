"""What commands refer to: which keys, accounts, holds and transactions must be read before they can be decided."""

from collections.abc import Iterable

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
from tallystick.domain.identifiers import local_of


class Needs:
    """Sets of request keys, account identifiers, and the positions of holds and of transactions to reverse."""

    def __init__(self) -> None:
        self.requests: set[bytes] = set()
        self.accounts: set[int] = set()
        self.holds: set[int] = set()
        self.originals: set[int] = set()

    def add(self, commands: Iterable[Command]) -> None:
        """Add what these commands refer to."""
        for command in commands:
            if command.request is not None:
                self.requests.add(command.request.key)
            match command:
                case Transfer() | PlaceHold():
                    self.accounts.add(command.source)
                    self.accounts.add(command.destination)
                case PostTransaction():
                    self.accounts.update(account for account, _ in command.entries)
                case OpenAccount() | ChangeAccount():
                    self.accounts.add(command.account)
                case CaptureHold() | VoidHold() | ExpireHold():
                    self.holds.add(local_of(command.hold))
                case Reverse():
                    self.originals.add(local_of(command.transaction))
                case _:
                    raise TypeError(f"no rule says what {type(command).__name__} needs")
