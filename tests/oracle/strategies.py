"""Random commands that are almost valid, over a small world.

What Hypothesis draws is an `Intent`: "transfer from the second account what it can just not spend". It becomes
a command only when its turn comes and the model knows what that is, so that most commands hit a rule at its
edge instead of being refused at the door.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final, NamedTuple

from hypothesis import note
from hypothesis import strategies as st

from tests.oracle import words
from tests.oracle.crossing import conflicts
from tests.oracle.harness import Comparison
from tests.oracle.intents import Intent
from tests.oracle.resolver import Resolver
from tests.oracle.store import check_log

START_US: Final = 1_800_000_000_000_000

# tenant, asset, kind; the number of an account is 100 and its place in this list.
WORLD: Final = (
    (1, "USD", "system"),
    (1, "USD", "wallet"),
    (1, "USD", "wallet"),
    (1, "USD", "wallet"),
    (1, "EUR", "system"),
    (1, "EUR", "wallet"),
    (1, "EUR", "wallet"),
    (2, "USD", "system"),
    (2, "USD", "wallet"),
)


Plan = list["Step"]


class Step(NamedTuple):
    """One batch to be: how much later, what the batcher remembers, and what is asked."""

    later_us: int
    remembers_accounts: bool
    asked: Sequence[Intent | tuple[Intent, ...]]


@dataclass(frozen=True)
class World:
    """How the accounts begin: their bounds, what each wallet is given, what is held, and their status."""

    bounds: tuple[tuple[int | None, int | None], ...]
    funds: tuple[int, ...]
    holds: tuple[tuple[int, int, int], ...]
    statuses: tuple[words.Status, ...]


def _weighted(**weights: int) -> list[str]:
    return [name.replace("_", " ") for name, weight in weights.items() for _ in range(weight)]


FAULTS: Final = _weighted(
    none=24,
    unknown_first=1,
    unknown_second=1,
    other_tenant=1,
    other_asset=1,
    same_account=1,
    misnamed_asset=1,
    clearing=1,
    system_owner=4,
)
AMOUNTS: Final = _weighted(
    one=3,
    ten=6,
    fifty=3,
    whole=5,
    payer=5,
    payee=2,
    bottom=1,
    top=1,
    zero=1,
    negative=1,
    largest=1,
    too_large=1,
)
KEYS: Final = _weighted(none=2, new=7, a=1, b=1)
BOUNDS: Final = _weighted(
    keep=4, none=1, zero=1, balance=2, ten_below=1, ten_above=1, hundred=1, largest=1, smallest=1
)
NO_NOTE: Final = (None, None, None)

# Half of the plans may do anything; the others do much of one thing, so that it happens to the same account,
# hold or transaction more than once.
THEMES: Final = (
    _weighted(
        transfer=7,
        transaction=4,
        hold=5,
        capture=6,
        void=1,
        expire=2,
        reverse=4,
        change=2,
        open=1,
        repeat=3,
        alter=2,
        send_transfer=2,
        send_hold=1,
        finalize=1,
        release=1,
        credit=1,
        claim_key=1,
    ),
    _weighted(reverse=10, transaction=4, transfer=3, repeat=1),
    _weighted(claim_key=8, transfer=3, hold=2, repeat=4, alter=3),
    _weighted(capture=10, hold=6, void=1, expire=3, reverse=2, change=1),
    _weighted(change=4, transfer=4, transaction=2, hold=2, capture=2, credit=2),
    _weighted(
        send_transaction=9, send_transfer=3, finalize=6, release=5, change=1, transfer=1, repeat=2, alter=1
    ),
    _weighted(send_hold=8, capture=12, finalize=7, release=6, expire=3, void=1, change=1, repeat=2),
    _weighted(promise=8, end_promise=6, refuse_credit=1, transfer=3, change=2, repeat=2),
    _weighted(send_transaction=10, finalize=9, release=9, change=1, repeat=2),
    _weighted(credit=9, refuse_credit=1, reverse=12, finalize=3, release=5, change=1, repeat=3, alter=1),
)


def _intents(actions: st.SearchStrategy[str]) -> st.SearchStrategy[Intent]:
    # Drawing is what takes the time, so what is independent is drawn together: one choice from all combinations,
    # the plainest first.
    notes = (
        NO_NOTE,
        NO_NOTE,
        NO_NOTE,
        ("rent", None, None),
        (None, '{"a":1}', None),
        ("rent", "{}", START_US - 5),
    )
    return st.builds(
        _intent,
        actions,
        st.sampled_from(list(product(range(6), range(6)))),
        st.sampled_from(list(product(AMOUNTS, (0, 0, 0, -1, 1)))),
        st.sampled_from(list(product(FAULTS, KEYS, (1, 1, 1, 1, 1, 2), ("USD", "USD", "USD", "EUR")))),
        st.sampled_from(list(product(notes, (False, True), (1, 2, 5, 10, 100), BOUNDS))),
    )


def _intent(
    action: str,
    places: tuple[int, int],
    amount: tuple[str, int],
    who: tuple[str, str, int, str],
    rest: tuple[tuple[str | None, str | None, int | None], bool, int, str],
) -> Intent:
    fault, key, tenant, asset = who
    note, flag, wait, bounds = rest
    return Intent(action, tenant, asset, *places, fault, *amount, key, note, flag, wait, bounds)


def _plans(intents: st.SearchStrategy[Intent]) -> st.SearchStrategy[Plan]:
    groups = st.lists(intents, min_size=1, max_size=4).map(tuple)
    steps = st.builds(
        Step,
        later_us=st.sampled_from((0, 1, 2, 4, 5, 10)),
        remembers_accounts=st.booleans(),
        asked=st.lists(st.one_of(intents, intents, intents, intents, groups), min_size=2, max_size=7),
    )
    return st.lists(steps, min_size=2, max_size=5)


_anything, *_themes = [_plans(_intents(st.sampled_from(actions))) for actions in THEMES]
plans = st.one_of(*(strategy for theme in _themes for strategy in (_anything, theme)))

_wallet_bounds = st.sampled_from(
    (
        (0, None),
        (0, None),
        (0, None),
        (0, 120),
        (0, words.LARGEST),
        (-20, None),
        (-20, 60),
        (10, 200),
        (None, None),
        (words.SMALLEST, None),
        (None, 100),
    )
)
_system_bounds = st.sampled_from(((None, None), (None, None), (words.SMALLEST, words.LARGEST), (None, 50)))

_statuses: Final[tuple[words.Status, ...]] = (
    "open",
    "open",
    "open",
    "open",
    "open",
    "open",
    "open",
    "open",
    "open",
    "frozen",
    "closed",
    "closed",
)

worlds = st.builds(
    World,
    bounds=st.tuples(*(_system_bounds if kind == "system" else _wallet_bounds for _, _, kind in WORLD)),
    funds=st.tuples(*(st.sampled_from((100, 100, 50, 0, 0, 10, words.LARGEST - 40)) for _ in WORLD)),
    holds=st.tuples(
        *(
            st.tuples(st.sampled_from((20, 40, 1)), st.integers(0, 5), st.sampled_from((100, 5, 10)))
            for _ in range(3)
        )
    ),
    statuses=st.tuples(*(st.sampled_from(_statuses) for _ in WORLD)),
)


def open_world(comparison: Comparison, world: World) -> None:
    """Open the accounts; then fund the wallets, place holds, and freeze and close."""
    opened: list[words.Unit] = [
        words.Open(
            tenant=tenant,
            account=100 + index,
            owner=f"owner {index}",
            asset=asset,
            kind="system" if kind == "system" else "wallet",
            min_balance=world.bounds[index][0],
            max_balance=world.bounds[index][1],
        )
        for index, (tenant, asset, kind) in enumerate(WORLD)
    ]
    comparison.post(opened, START_US)
    begun: list[words.Unit] = [
        words.Transfer(
            tenant=tenant,
            source=next(
                100 + place for place, other in enumerate(WORLD) if other == (tenant, asset, "system")
            ),
            destination=100 + index,
            amount=world.funds[index],
            asset=asset,
        )
        for index, (tenant, asset, kind) in enumerate(WORLD)
        if kind == "wallet" and world.funds[index]
    ]
    # From wallet to wallet of the same tenant and asset, going round.
    pairs = ((101, 102), (102, 103), (103, 101), (101, 103), (102, 100), (105, 106))
    begun += [
        words.Hold(
            tenant=1,
            source=pairs[place][0],
            destination=pairs[place][1],
            amount=amount,
            asset="EUR" if place == 5 else "USD",
            expires_in=wait,
        )
        for amount, place, wait in world.holds
    ]
    begun += [
        words.Change(tenant=tenant, id=100 + index, status=world.statuses[index])
        for index, (tenant, _, _) in enumerate(WORLD)
        if world.statuses[index] != "open"
    ]
    comparison.post(begun, START_US)


def run(comparison: Comparison, world: World, plan: Plan) -> None:
    """Carry out a plan, comparing after every batch."""
    open_world(comparison, world)
    resolver = Resolver(comparison.model)
    now_us = START_US
    for step in plan:
        now_us += step.later_us
        batch = Batch(comparison, now_us, remembers_accounts=step.remembers_accounts)
        for asked in step.asked:
            if isinstance(asked, Intent):
                command = resolver.command(asked)
                if conflicts(comparison.model.history, command):
                    batch.end()
                    comparison.conflict(command, now_us)
                else:
                    batch.take(command)
            else:
                batch.take(words.Group(tuple(resolver.command_of_group(intent) for intent in asked)))
        batch.end()


class Batch:
    """A batch of which each command is made when the model knows what those before it came to."""

    def __init__(self, comparison: Comparison, now_us: int, *, remembers_accounts: bool) -> None:
        self.comparison = comparison
        self.now_us = now_us
        self.remembers_accounts = remembers_accounts
        self._begin()

    def _begin(self) -> None:
        ledger = self.comparison.model
        self.before = (len(ledger.history.events), len(ledger.claims))
        self.units: list[words.Unit] = []
        self.expected: list[words.Outcome] = []

    def take(self, unit: words.Unit) -> None:
        self.units.append(unit)
        self.expected += self.comparison.model.apply(unit, self.now_us)

    def end(self) -> None:
        """Compare, and begin another one."""
        self.comparison.model.end_batch(self.before)
        note((self.now_us, self.units))
        self.comparison.compare(
            self.units, self.expected, self.before, self.now_us, remembers_accounts=self.remembers_accounts
        )
        check_log(self.comparison.store)
        self._begin()
