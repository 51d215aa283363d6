"""Faults as a run sees them, whatever they strike, and the order in which they happen."""

import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Final, NamedTuple

COMBINED_SHARE: Final = 0.25
"""How many faults come with a second one."""


class NotBittenError(AssertionError):
    """A fault did not reach its victim."""


class Strike(NamedTuple):
    """A fault that can happen now and again.

    `happen` strikes, repairs, and returns what proved that it has bitten. `place` is what it must not share with
    another strike at the same time. `noticed`: clients must notice it, too.
    """

    kind: str
    target: str
    place: str
    happen: Callable[[random.Random], Awaitable[str]]
    noticed: bool = False
    restarts: bool = False


class Running(NamedTuple):
    """A ledger that runs: where it answers, and what can happen to it, alone and at once.

    Requests go to all addresses, to one that is listed twice twice as often. `balancers` are those behind which more
    than one server answers. `verify` returns what is wrong with the books, in words; nothing if they are right. No
    fault begins later than `fault_seconds` before the end: what one takes as a rule.
    """

    addresses: Sequence[str]
    api_key: str
    single: list[Strike]
    together: list[list[Strike]]
    verify: Callable[[], str]
    balancers: Sequence[str] = ()
    fault_seconds: float = 4.0


def in_turns(
    chance: random.Random, single: list[Strike], together: list[list[Strike]]
) -> Iterator[list[Strike]]:
    """What happens next, without end: each kind as often as the others, alone and in combinations."""
    kinds = list(dict.fromkeys(strike.kind for strike in single))
    while True:
        for kind in chance.sample(kinds, len(kinds)):
            first = chance.choice([strike for strike in single if strike.kind == kind])
            others = [strike for strike in single if strike.place != first.place]
            yield [first, chance.choice(others)] if others and chance.random() < COMBINED_SHARE else [first]
        if together:
            yield chance.choice(together)
