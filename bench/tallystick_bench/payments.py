"""Endless payments of one workload, made before the clock starts."""

import random
from collections.abc import Iterator
from itertools import accumulate, count

import msgspec

from tallystick_bench.settings import AMOUNT_MINOR_UNITS_MAX, Workload

Payment = tuple[str, str, int, str]
"""Source, destination, amount, idempotency key."""


class Recipe(msgspec.Struct, frozen=True):
    """What the payments of a run are made from, also in another process.

    Every idempotency key begins with `run`, so that no two runs and no two processes share one.
    """

    workload: Workload
    accounts: list[str]
    seed: int
    run: str


class Payments:
    """Payments of a workload over accounts. The same recipe makes the same ones in the same order.

    `hot`: every payment goes to the first account. `zipf`: the n-th account pays and is paid in proportion to
    1/n. Otherwise all accounts are alike. No account pays itself.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._random = random.Random(recipe.seed)  # nosec B311  # noqa: S311 - it must be reproducible
        self._numbers = count(1)
        self._weights = (
            list(accumulate(1 / rank for rank in range(1, len(recipe.accounts) + 1)))
            if recipe.workload is Workload.ZIPF
            else None
        )

    def take(self, number: int) -> Iterator[Payment]:
        """Make this many payments. Many tasks can share the result: each payment is given out once.

        They are kept as columns of strings, which cost the garbage collector nothing while the clock runs.
        """
        pairs = [pair for pair in self._pairs(number) if pair[0] != pair[1]]
        while len(pairs) < number:
            pairs += [pair for pair in self._pairs(number - len(pairs)) if pair[0] != pair[1]]
        sources = [source for source, _ in pairs]
        destinations = [destination for _, destination in pairs]
        amounts = self._random.choices(range(1, AMOUNT_MINOR_UNITS_MAX + 1), k=number)
        keys = [f"{self._recipe.run}-{next(self._numbers)}" for _ in range(number)]
        return zip(sources, destinations, amounts, keys, strict=True)

    def accounts(self, number: int) -> Iterator[str]:
        """Choose this many accounts, each as often as it pays."""
        return iter(self._random.choices(self._recipe.accounts, cum_weights=self._weights, k=number))

    def _pairs(self, number: int) -> Iterator[tuple[str, str]]:
        accounts = self._recipe.accounts
        sources = self._random.choices(accounts, cum_weights=self._weights, k=number)
        if self._recipe.workload is Workload.HOT:
            return zip(sources, [accounts[0]] * number, strict=True)
        destinations = self._random.choices(accounts, cum_weights=self._weights, k=number)
        return zip(sources, destinations, strict=True)
