"""What each client of a run does: a sequence that follows from the seed and the client's number alone.

Nothing here depends on what servers answer or how fast they are, so a run's clients can be replayed. An intent that
needs the answer to an earlier one (a capture needs its hold) names that one by its number.
"""

import random
from collections.abc import Iterator
from enum import StrEnum
from typing import Final, NamedTuple

REPEATED_SHARE: Final = 0.1
OTHER_BODY_SHARE: Final = 0.01
HUNG_UP_SHARE: Final = 0.05
CROSSING_SHARE: Final = 0.5
HOT_SHARE: Final = 0.5
INSISTING_SHARE: Final = 0.7
"""How many requests whose result is unknown are sent again. The others stay unknown for ever."""

AMOUNT_MAX: Final = 900
START_BALANCE: Final = 2_000
"""So little that some payments are refused."""
HOLD_EXPIRES_SECONDS: Final = (1, 2, 3)
HOLD_LASTS_SECONDS: Final = 600
FOLLOW_UP_TURNS_MAX: Final = 4
HANG_UP_SECONDS_MAX: Final = 0.015
BALANCES_AT_ONCE: Final = 5


class Kind(StrEnum):
    """What an intent does."""

    TRANSFER = "transfer"
    HOLD = "hold"
    CAPTURE = "capture"
    VOID = "void"
    REVERSAL = "reversal"
    BALANCE = "balance"
    BALANCES = "balances"


class Manner(StrEnum):
    """How a request is sent."""

    ONCE = "once"
    AGAIN = "again"
    """Once more after the answer, under the same key."""
    AT_ONCE = "at once"
    """Twice at the same moment, under the same key."""
    OTHER_BODY = "other body"
    """And then another request under the same key."""
    HUNG_UP = "hung up"
    """The client does not wait for the answer."""


class Consistency(StrEnum):
    """How a balance is read."""

    FAST = "fast"
    STRONG = "strong"
    MIN_POSITION = "min_position"
    """At least as new as all that this client has seen of the account."""
    AT = "at"
    """At a past time: that of something that this client has seen."""


class Spot(NamedTuple):
    """An account of the run: the index of its shard, and its number there. The first ones are hot."""

    shard: int
    number: int


class Terrain(NamedTuple):
    """The accounts of a run."""

    shards: int = 2
    hot: int = 2
    cold: int = 30

    @property
    def spots(self) -> list[Spot]:
        """All accounts."""
        return [Spot(shard, number) for shard in range(self.shards) for number in range(self.hot + self.cold)]


class Weights(NamedTuple):
    """How often each sort of operation begins, beside the others."""

    transfer: int = 40
    hold: int = 10
    reversal: int = 5
    read: int = 35


class Intent(NamedTuple):
    """One operation of a client. `server` is a share of the list of servers; `of` the intent that this is about."""

    number: int
    kind: Kind
    server: float
    manner: Manner = Manner.ONCE
    insists: bool = True
    spots: tuple[Spot, ...] = ()
    amount: int | None = None
    of: int | None = None
    consistency: Consistency = Consistency.FAST
    expires_in_seconds: int = HOLD_LASTS_SECONDS
    final: bool = False
    hang_up_seconds: float = 0.0


class _Later(NamedTuple):
    """What a client does some turns later."""

    turn: int
    kind: Kind
    of: int
    amount: int | None = None
    final: bool = False


def intents(seed: int, client: int, terrain: Terrain, weights: Weights = Weights()) -> Iterator[Intent]:  # noqa: B008 - it is immutable
    """All that a client does, without end."""
    return _Client(random.Random(f"{seed} {client}"), terrain, weights).intents()


class _Client:
    """One client on its way through its sequence."""

    def __init__(self, chance: random.Random, terrain: Terrain, weights: Weights) -> None:
        self._chance = chance
        self._terrain = terrain
        self._weights = weights
        self._later: list[_Later] = []
        self._number = 0

    def intents(self) -> Iterator[Intent]:
        while True:
            self._number += 1
            due = [one for one in self._later if one.turn <= self._number]
            if due:
                self._later.remove(due[0])
                yield self._follow_up(due[0])
            else:
                yield self._begin()

    def _follow_up(self, later: _Later) -> Intent:
        return self._sent(
            Intent(
                self._number,
                later.kind,
                self._chance.random(),
                of=later.of,
                amount=later.amount,
                final=later.final,
            )
        )

    def _begin(self) -> Intent:
        (what,) = self._chance.choices(Weights._fields, self._weights)
        if what == "read":
            return self._read()
        if what == "hold":
            return self._sent(self._hold())
        intent = self._sent(self._transfer())
        if what == "reversal":
            # First something to reverse, whole or in part.
            assert intent.amount is not None
            part = None if self._chance.random() < 0.5 else self._chance.randint(1, intent.amount)
            self._do_later(Kind.REVERSAL, amount=part)
        return intent

    def _transfer(self) -> Intent:
        return Intent(
            self._number,
            Kind.TRANSFER,
            self._chance.random(),
            spots=self._pair(),
            amount=self._chance.randint(1, AMOUNT_MAX),
        )

    def _hold(self) -> Intent:
        amount = self._chance.randint(2, AMOUNT_MAX // 2)
        fate = self._chance.choice(["capture", "capture in parts", "void", "expire"])
        match fate:
            case "capture":
                self._do_later(Kind.CAPTURE)
            case "capture in parts":
                part = self._chance.randint(1, amount - 1)
                self._do_later(Kind.CAPTURE, amount=part)
                self._do_later(
                    Kind.CAPTURE, amount=self._chance.randint(1, amount - part), final=True, after=1
                )
            case "void":
                self._do_later(Kind.VOID)
        return Intent(
            self._number,
            Kind.HOLD,
            self._chance.random(),
            spots=self._pair(),
            amount=amount,
            expires_in_seconds=(
                self._chance.choice(HOLD_EXPIRES_SECONDS) if fate == "expire" else HOLD_LASTS_SECONDS
            ),
        )

    def _read(self) -> Intent:
        consistency = self._chance.choice(list(Consistency))
        many = consistency in {Consistency.FAST, Consistency.STRONG} and self._chance.random() < 0.2
        return Intent(
            self._number,
            Kind.BALANCES if many else Kind.BALANCE,
            self._chance.random(),
            spots=tuple({self._spot(): None for _ in range(BALANCES_AT_ONCE if many else 1)}),
            consistency=consistency,
        )

    def _do_later(
        self, kind: Kind, *, amount: int | None = None, final: bool = False, after: int = 0
    ) -> None:
        turn = self._number + 1 + after * FOLLOW_UP_TURNS_MAX + self._chance.randrange(FOLLOW_UP_TURNS_MAX)
        self._later.append(_Later(turn, kind, self._number, amount, final))

    def _sent(self, intent: Intent) -> Intent:
        """Choose how it is sent, and what happens when its result is unknown."""
        chance = self._chance
        manner = Manner.ONCE
        drawn = chance.random()
        for share, one in (
            (HUNG_UP_SHARE, Manner.HUNG_UP),
            (OTHER_BODY_SHARE, Manner.OTHER_BODY),
            (REPEATED_SHARE / 2, Manner.AGAIN),
            (REPEATED_SHARE / 2, Manner.AT_ONCE),
        ):
            if drawn < share:
                manner = one
                break
            drawn -= share
        return intent._replace(
            manner=manner,
            insists=chance.random() < INSISTING_SHARE,
            hang_up_seconds=chance.uniform(0.0, HANG_UP_SECONDS_MAX),
        )

    def _pair(self) -> tuple[Spot, Spot]:
        """A payer and a payee, on two shards as often as on one."""
        source = self._spot()
        crosses = self._terrain.shards > 1 and self._chance.random() < CROSSING_SHARE
        while True:
            destination = self._spot()
            if destination != source and (destination.shard != source.shard) == crosses:
                return source, destination

    def _spot(self) -> Spot:
        terrain, chance = self._terrain, self._chance
        hot = chance.random() < HOT_SHARE
        number = chance.randrange(terrain.hot) if hot else terrain.hot + chance.randrange(terrain.cold)
        return Spot(chance.randrange(terrain.shards), number)
