"""Random commands that are almost valid, over a small world.

What Hypothesis draws is an `Intent`: "transfer from the second account what it can just not spend". It becomes
a command only when its turn comes and the model knows what that is, so that most commands hit a rule at its
edge instead of being refused at the door.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Final, NamedTuple

from hypothesis import note
from hypothesis import strategies as st

from tests.oracle import model
from tests.oracle.harness import Comparison, check_log

START_US: Final = 1_800_000_000_000_000
UNKNOWN_ACCOUNT: Final = 999

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


class Intent(NamedTuple):
    """One command to be. What the numbers mean depends on the action."""

    action: str
    tenant: int
    asset: str
    first: int
    second: int
    fault: str
    amount: str
    offset: int
    key: str
    note: tuple[str | None, str | None, int | None]
    flag: bool
    wait: int
    bounds: str


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
    statuses: tuple[model.Status, ...]


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
    ),
    _weighted(reverse=10, transaction=4, transfer=3, repeat=1),
    _weighted(capture=10, hold=6, void=1, expire=3, reverse=2, change=1),
    _weighted(change=4, transfer=4, transaction=2, hold=2, capture=2),
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
        (0, model.LARGEST),
        (-20, None),
        (-20, 60),
        (10, 200),
        (None, None),
        (model.SMALLEST, None),
        (None, 100),
    )
)
_system_bounds = st.sampled_from(((None, None), (None, None), (model.SMALLEST, model.LARGEST), (None, 50)))

_statuses: Final[tuple[model.Status, ...]] = (
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
    funds=st.tuples(*(st.sampled_from((100, 100, 50, 0, 0, 10, model.LARGEST - 40)) for _ in WORLD)),
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
    opened: list[model.Unit] = [
        model.Open(
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
    begun: list[model.Unit] = [
        model.Transfer(
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
        model.Hold(
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
        model.Change(tenant=tenant, id=100 + index, status=world.statuses[index])
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
        ledger = comparison.model
        before = (len(ledger.history.events), len(ledger.claims))
        units: list[model.Unit] = []
        expected: list[model.Outcome] = []
        for asked in step.asked:
            unit: model.Unit
            if isinstance(asked, Intent):
                unit = resolver.command(asked)
            else:
                unit = model.Group(tuple(resolver.command(intent) for intent in asked))
            units.append(unit)
            expected += ledger.apply(unit, now_us)
        ledger.end_batch(before)
        note((now_us, units))
        comparison.compare(units, expected, before, now_us, remembers_accounts=step.remembers_accounts)
        check_log(comparison.store)


def _clamped(amount: int) -> int:
    """An amount no further outside the range of amounts than can be written down."""
    return max(model.SMALLEST, min(model.LARGEST + 1, amount))


class Resolver:
    """Makes commands of intents, knowing what the model knows."""

    def __init__(self, ledger: model.Model) -> None:
        self.ledger = ledger
        self.sent: list[model.Command] = []
        self.opened = 0
        self.keys = 0

    def command(self, intent: Intent) -> model.Command:
        command = self._again(intent) if intent.action in {"repeat", "alter"} else self._new(intent)
        if command.key is not None:
            self.sent.append(command)
        return command

    # What the same caller may send again.

    def _again(self, intent: Intent) -> model.Command:
        if not self.sent:
            return self._new(intent._replace(action="transfer"))
        earlier = self.sent[-1 - (intent.first * 6 + intent.second) % len(self.sent)]
        if isinstance(earlier, model.Open):
            earlier = replace(earlier, account=self._draw_account())
        if intent.action == "repeat":
            return earlier
        return replace(earlier, **self._alteration(earlier, intent))

    def _alteration(self, earlier: model.Command, intent: Intent) -> dict[str, Any]:
        changes: list[dict[str, Any]]
        match earlier:
            case model.Transfer() | model.Hold():
                changes = [
                    {"amount": earlier.amount + 1},
                    {"destination": earlier.source},
                    {"asset": "EUR" if earlier.asset == "USD" else "USD"},
                ]
            case model.Transaction():
                changes = [{"entries": earlier.entries[:-1]}, {"entries": earlier.entries[::-1]}]
            case model.Capture():
                changes = [{"final": not earlier.final}, {"id": earlier.id + 1}, {"amount": 1}]
            case model.Reverse() | model.Void():
                changes = [{"id": earlier.id + 1}, {"metadata": "{}"}]
            case model.Open():
                changes = [{"max_balance": 77}, {"owner": "somebody else"}]
            case _:
                changes = [{"status": "frozen"}, {"min_balance": None}]
        if isinstance(earlier, model.Noted):
            changes.append({"description": "something else"})
        return changes[intent.second % len(changes)]

    # New requests.

    def _new(self, intent: Intent) -> model.Command:
        match intent.action:
            case "transfer" | "hold":
                return self._payment(intent)
            case "transaction":
                return self._transaction(intent)
            case "capture" | "void" | "expire":
                return self._on_hold(intent)
            case "reverse":
                return self._reversal(intent)
            case "change":
                return self._change(intent)
            case _:
                return self._opening(intent)

    def _common(self, intent: Intent) -> dict[str, Any]:
        return {"tenant": intent.tenant, "key": self._key(intent)}

    def _noted(self, intent: Intent) -> dict[str, Any]:
        description, metadata, effective_at = intent.note
        return {
            **self._common(intent),
            "description": description,
            "metadata": metadata,
            "effective_at": effective_at,
        }

    def _key(self, intent: Intent) -> str | None:
        if intent.key == "none":
            return None
        if intent.key != "new":
            return intent.key
        self.keys += 1
        return f"new {self.keys}"

    def _accounts(self, intent: Intent) -> list[int]:
        history = self.ledger.history
        return [
            account
            for account in history.accounts()
            if (terms := history.terms(account))
            and terms.tenant == intent.tenant
            and terms.asset == intent.asset
        ]

    def _two_accounts(self, intent: Intent) -> tuple[int, int]:
        accounts = self._accounts(intent) or [UNKNOWN_ACCOUNT]
        source = accounts[intent.first % len(accounts)]
        others = [account for account in accounts if account != source] or [UNKNOWN_ACCOUNT]
        destination = others[intent.second % len(others)]
        match intent.fault:
            case "unknown first":
                source = UNKNOWN_ACCOUNT
            case "unknown second":
                destination = UNKNOWN_ACCOUNT
            case "same account":
                destination = source
            case "other tenant":
                source, destination = (108, destination) if intent.flag else (source, 108)
            case "other asset":
                source, destination = (105, destination) if intent.flag else (source, 105)
        return source, destination

    def _amount(self, intent: Intent, payer: int, payee: int, whole: int) -> int:
        """An amount, perhaps one at the edge of what the rules allow."""
        history = self.ledger.history
        fixed = {"one": 1, "ten": 10, "fifty": 50, "zero": 0, "negative": -1, "largest": model.LARGEST}
        if intent.amount in fixed:
            return fixed[intent.amount]
        if intent.amount == "too large":
            return model.LARGEST + 1
        edge = whole
        if intent.amount == "payer" and (terms := history.terms(payer)) and terms.min_balance is not None:
            edge = history.available(payer) - terms.min_balance
        elif intent.amount == "payee" and (terms := history.terms(payee)) and terms.max_balance is not None:
            edge = terms.max_balance - history.balance(payee)
        elif intent.amount == "bottom":
            edge = history.available(payer) - model.SMALLEST
        elif intent.amount == "top":
            edge = model.LARGEST - history.balance(payee)
        return _clamped(edge + intent.offset)

    def _payment(self, intent: Intent) -> model.Command:
        source, destination = self._two_accounts(intent)
        asset = "GBP" if intent.fault == "misnamed asset" else intent.asset
        amount = self._amount(intent, source, destination, 20)
        if intent.action == "hold":
            return model.Hold(
                **self._noted(intent),
                source=source,
                destination=destination,
                amount=amount,
                asset=asset,
                expires_in=intent.wait,
            )
        return model.Transfer(
            **self._noted(intent), source=source, destination=destination, amount=amount, asset=asset
        )

    def _transaction(self, intent: Intent) -> model.Command:
        payer, payee = self._two_accounts(intent)
        amount = self._amount(intent, payer, payee, 30)
        others = [account for account in self._accounts(intent) if account not in {payer, payee}]
        entries: list[tuple[int, int]]
        match intent.wait, bool(others):
            case 1, True:  # one pays many
                entries = [(payer, -amount - len(others)), (payee, amount), *((other, 1) for other in others)]
            case 2, True:  # many pay one
                entries = [
                    (payee, amount + len(others)),
                    *((other, -1) for other in others),
                    (payer, -amount),
                ]
            case 5, _:  # an exchange of two assets
                back = 105 if intent.flag else 106
                entries = [(payer, -amount), (payee, amount), (104, 10), (back, -10)]
            case _:
                entries = [(payee, amount), (payer, -amount)]
        entries = [(account, _clamped(amount)) for account, amount in entries]
        match intent.fault, intent.flag:
            case "same account", True:
                entries.append((payer, 5))
            case "misnamed asset", True:
                entries[0] = (entries[0][0], _clamped(entries[0][1] + 1))
            case "misnamed asset", False:
                entries.pop()
        return model.Transaction(**self._noted(intent), entries=tuple(entries))

    def _on_hold(self, intent: Intent) -> model.Command:
        history = self.ledger.history
        placed = [hold for hold in history.holds() if hold.tenant == intent.tenant]
        still_open = [hold for hold in placed if not history.end_of_hold(hold.position)]
        choice = still_open if still_open and intent.second else placed
        hold = choice[intent.first % len(choice)] if choice else None
        if hold is None and intent.fault == "none":
            return self._payment(intent._replace(action="hold"))
        position = hold.position if hold else 1
        if intent.fault.startswith("unknown"):
            # Perhaps one that a group places before this command, or no hold at all.
            position = max(1, len(history.events) + intent.second - 2)
        elif intent.fault == "other tenant":
            intent = intent._replace(tenant=3 - intent.tenant)
        if intent.action == "expire":
            return model.Expire(tenant=intent.tenant, id=position)
        if intent.action == "void":
            return model.Void(**self._noted(intent), id=position)
        amount: int | None = None
        if hold and hold.reservation and intent.amount != "one":
            reservation = hold.reservation
            amount = self._amount(intent, reservation.payer, reservation.payee, history.remaining(hold))
        return model.Capture(**self._noted(intent), id=position, amount=amount, final=intent.flag)

    def _reversal(self, intent: Intent) -> model.Command:
        history = self.ledger.history
        events = [event for event in history.events if event.tenant == intent.tenant]
        choice = [event for event in events if event.kind in model.REVERSIBLE and event.position > len(WORLD)]
        if intent.second == 0 or not choice:
            choice = events
        # The newest ones, so that a run meets the same original more than once.
        original = choice[-1 - intent.first % min(3, len(choice))] if choice else None
        position = original.position if original else 1
        if intent.fault.startswith("unknown"):
            position = max(1, len(history.events) + intent.second - 2)
        elif intent.fault == "other tenant":
            intent = intent._replace(tenant=3 - intent.tenant)
        amount: int | None = None
        if original and len(original.entries) >= 2 and not intent.flag:
            (payee, _), (payer, _) = original.entries[:2]
            amount = self._amount(intent, payer, payee, history.left_to_reverse(original))
        return model.Reverse(**self._noted(intent), id=position, amount=amount)

    def _change(self, intent: Intent) -> model.Command:
        account, _ = self._two_accounts(intent)
        statuses: tuple[model.Status | model.Keep, ...] = (
            "keep",
            "open",
            "open",
            "frozen",
            "closed",
            "closed",
        )
        bound = self._bound(intent, account)
        return model.Change(
            **self._common(intent),
            id=account,
            status=statuses[intent.second],
            min_balance="keep" if intent.flag else bound,
            max_balance=bound if intent.flag else "keep",
            metadata="keep" if intent.note[1] is None else intent.note[1],
        )

    def _bound(self, intent: Intent, account: int) -> int | None | model.Keep:
        balance = self.ledger.history.balance(account)
        bounds: dict[str, int | None | model.Keep] = {
            "keep": "keep",
            "none": None,
            "zero": 0,
            "balance": balance,
            "ten below": balance - 10,
            "ten above": balance + 10,
            "hundred": 100,
            "largest": model.LARGEST,
            "smallest": model.SMALLEST,
        }
        bound = bounds[intent.bounds]
        return min(model.LARGEST, _clamped(bound)) if isinstance(bound, int) else bound

    def _opening(self, intent: Intent) -> model.Command:
        return model.Open(
            **self._common(intent),
            account=self._draw_account(),
            owner="somebody",
            asset=intent.asset,
            kind="system" if intent.flag else "wallet",
            min_balance=0 if intent.flag else intent.offset,
            max_balance=intent.second - 1 if intent.second < 3 else None,
            metadata=intent.note[1],
        )

    def _draw_account(self) -> int:
        self.opened += 1
        return 500 + self.opened
