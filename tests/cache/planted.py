"""Bugs, each of which a race must find. They are put into a process that serves, and nowhere else."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from tallystick.domain.accounts import AccountState
from tallystick.domain.cached import Mark, opening_mark, write_state
from tallystick.followers.cache import balances
from tallystick.followers.cache.balances import BalanceReader, FoundBalance
from tallystick.followers.cache.tailer import Tailer
from tallystick.store.cache import balances as cache
from tallystick.store.cache import scripts

PASSED: Final = ("position >= passed or as_of >= passed", "true")


def _replace_script(name: str, *replaced: tuple[str, str]) -> None:
    """Run a script with parts of it replaced."""
    text = scripts.script(name)
    for before, after in replaced:
        assert before in text, before
        text = text.replace(before, after)
    # No server knows this one, so that the text is sent.
    unknown = "0" * 40
    vars(cache).update(
        script=lambda asked: text if asked == name else scripts.script(asked),
        digest=lambda asked: unknown if asked == name else scripts.digest(asked),
    )


def _plain_set() -> None:
    """Whatever comes is set."""
    _replace_script("write", ("tonumber(known_position) < position", "true"), PASSED)


def _unchecked_mark() -> None:
    """What is set may be older than the mark, so it comes back after it was lost."""
    _replace_script("write", PASSED)


def _generation_again() -> None:
    """When the mark is lost it begins at the end of the log, and what was cached before counts again."""

    async def again(self: Tailer, text: bytes, mark: Mark | None, head: int) -> Mark | None:
        del mark
        opening = opening_mark("1", head)
        return opening if await self._cache.begin(self._shard, text, opening) else None

    Tailer._begin = again  # type: ignore[method-assign]  # it is planted


def _nothing_remembered() -> None:
    """A server believes the cache though what it wrote or answered never arrived there."""
    BalanceReader._floor = property(lambda _self: 0, lambda _self, _value: None)  # type: ignore[assignment]  # it is planted
    BalanceReader._ahead = property(lambda _self: {}, lambda _self, _value: None)  # type: ignore[assignment]  # it is planted


def _min_position_ignored() -> None:
    """Whoever wants to read his own write gets what there is."""
    read = BalanceReader.read

    async def ignoring(
        self: BalanceReader, accounts: Sequence[int], *, min_position: int = 0, strong: bool = False
    ) -> dict[int, FoundBalance]:
        return await read(self, accounts, strong=strong)

    BalanceReader.read = ignoring  # type: ignore[method-assign]  # it is planted


def _strong_is_weak() -> None:
    """Who asks PostgreSQL is answered by the cache."""
    read = BalanceReader.read

    async def weak(
        self: BalanceReader, accounts: Sequence[int], *, min_position: int = 0, strong: bool = False
    ) -> dict[int, FoundBalance]:
        return await read(self, accounts, min_position=min_position)

    BalanceReader.read = weak  # type: ignore[method-assign]  # it is planted


def _never_was() -> None:
    """The cache gets a balance of one position with the number of another."""

    def mixed(state: AccountState) -> str:
        return write_state(msgspec.structs.replace(state, balance=state.balance + state.position % 2))

    vars(balances).update(write_state=mixed)


PLANTED: Final[Mapping[str, Callable[[], None]]] = {
    "plain set": _plain_set,
    "unchecked mark": _unchecked_mark,
    "generation again": _generation_again,
    "nothing remembered": _nothing_remembered,
    "min_position ignored": _min_position_ignored,
    "strong is weak": _strong_is_weak,
    "a balance that never was": _never_was,
}


def plant(name: str) -> None:
    """Put a bug into this process."""
    PLANTED[name]()
