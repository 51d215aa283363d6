"""The final state of a run, as the public API tells it: files of JSON lines, and the same in memory.

Nothing here knows the product's code.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from tests.chaos.messages import Account, Balance, Event, HistoryEntry, Hold, read

Line = TypeVar("Line")

ACCOUNTS: Final = "accounts.jsonl"
BALANCES: Final = "balances.jsonl"
HISTORIES: Final = "histories.jsonl"
HOLDS: Final = "holds.jsonl"
LOG: Final = "log.jsonl"
FEED: Final = "feed.jsonl"


class BalanceSeen(msgspec.Struct):
    """A balance that a server answered at the end."""

    server: str
    consistency: str
    read: Balance


class HistoryLine(msgspec.Struct):
    """A line of an account's history, newest first."""

    account: str
    line: HistoryEntry


class FinalState:
    """All that is left of a run.

    `log` has each stage of each payment, `feed` each payment's part on each shard; both by shard, in the order of
    positions. Histories are newest first.
    """

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}
        self.balances: list[BalanceSeen] = []
        self.histories: dict[str, list[HistoryEntry]] = {}
        self.holds: dict[str, Hold] = {}
        self.log: dict[int, list[Event]] = {}
        self.feed: dict[int, list[Event]] = {}


def read_final_state(folder: Path) -> FinalState:
    """Read the files of a final state."""
    final = FinalState()
    for account in _lines(folder / ACCOUNTS, Account):
        final.accounts[account.id] = account
    final.balances.extend(_lines(folder / BALANCES, BalanceSeen))
    for one in _lines(folder / HISTORIES, HistoryLine):
        final.histories.setdefault(one.account, []).append(one.line)
    for hold in _lines(folder / HOLDS, Hold):
        final.holds[hold.id] = hold
    for name, by_shard in ((LOG, final.log), (FEED, final.feed)):
        for event in _lines(folder / name, Event):
            by_shard.setdefault(event.shard, []).append(event)
    return final


def _lines(path: Path, kind: type[Line]) -> Iterator[Line]:
    with path.open("rb") as file:
        for line in file:
            yield read(line, kind)


class FinalStateFiles:
    """Writes the files of a final state, line by line, as the API answered."""

    def __init__(self, folder: Path) -> None:
        """Write into a folder, which is made."""
        folder.mkdir()
        self._files = {
            name: (folder / name).open("wb") for name in (ACCOUNTS, BALANCES, HISTORIES, HOLDS, LOG, FEED)
        }

    def add(self, name: str, line: bytes | msgspec.Raw | msgspec.Struct) -> None:
        """Add a line to one of the files: as it came, or made of what was read."""
        text = msgspec.json.encode(line) if isinstance(line, msgspec.Struct) else bytes(line)
        self._files[name].write(text + b"\n")

    def close(self) -> None:
        """Close all files."""
        for file in self._files.values():
            file.close()
