"""The API against a tiny model: whatever is asked in whatever order, balances and answers are the model's."""

import os
import random
from dataclasses import dataclass
from typing import Any

import hypothesis
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.api.client import Answer, Client, new_key
from tests.whole import WHOLE

EXAMPLES = 30 if WHOLE else 15
STEPS_PER_EXAMPLE = 30

amounts = st.one_of(st.integers(1, 60), st.sampled_from([100, 1000]))
parts = st.none() | amounts


@dataclass
class Account:
    """What the model knows about an account."""

    min_balance: int | None
    balance: int = 0
    held: int = 0
    status: str = "open"

    def refusal(self, out: int) -> str | None:
        """Why this much cannot go out, or be set aside."""
        if self.status != "open":
            return f"account_{self.status}"
        if self.min_balance is not None and self.balance - self.held - out < self.min_balance:
            return "insufficient_funds"
        return None


@dataclass
class Hold:
    source: str
    destination: str
    remaining: int
    status: str = "open"


@dataclass
class Payment:
    """Something that can be reversed, with what of it is left."""

    source: str
    destination: str
    remaining: int


class Ledger(RuleBasedStateMachine):
    """Accounts are written down by identifier; one owner has them all, so one call reads them back."""

    accounts = Bundle("accounts")
    holds = Bundle("holds")
    payments = Bundle("payments")

    def __init__(self, client: Client) -> None:
        super().__init__()
        self.client = client
        self.owner = f"machine {new_key()}"
        self.known: dict[str, Account] = {}
        self.known_holds: dict[str, Hold] = {}
        self.known_payments: dict[str, Payment] = {}
        self.sent: list[tuple[str, str, dict[str, Any], str, Answer]] = []

    def send(self, method: str, path: str, body: dict[str, Any], refusal: str | None) -> Answer:
        """Send a request, compare what it came to with what the model expects, and remember it."""
        key = new_key()
        answer = self.client.send(method, path, body, key=key)
        found = None if answer.status in {200, 201} else answer.refused()[1]
        assert found == refusal, f"{method} {path} {body}: {answer.body!r}"
        self.sent.append((method, path, body, key, answer))
        return answer

    def open_account(self, kind: str, min_balance: int | None) -> str:
        bound = None if min_balance is None else str(min_balance)
        body = {"owner": self.owner, "asset": "USD", "kind": kind, "min_balance": bound}
        identifier: str = self.send("POST", "/v1/accounts", body, None)["id"]
        self.known[identifier] = Account(min_balance)
        return identifier

    def move(self, source: str, destination: str, amount: int) -> None:
        self.known[source].balance -= amount
        self.known[destination].balance += amount

    def refusal_to_move(self, source: str, destination: str, amount: int) -> str | None:
        """Of several reasons, that a closed account is in the way comes first."""
        if source == destination:
            return "same_account"
        if "closed" in {self.known[source].status, self.known[destination].status}:
            return "account_closed"
        return self.known[source].refusal(amount)

    @initialize(target=accounts)
    def open_the_first(self) -> Any:
        return multiple(
            self.open_account("system", None),
            self.open_account("wallet", 0),
            self.open_account("wallet", -50),
        )

    @precondition(lambda self: len(self.known) < 8)
    @rule(target=accounts, min_balance=st.sampled_from([0, -50, 10]))
    def open(self, min_balance: int) -> str:
        return self.open_account("wallet", min_balance)

    @rule(account=accounts, status=st.sampled_from(["open", "open", "frozen", "closed"]))
    def change_status(self, account: str, status: str) -> None:
        known = self.known[account]
        empty = not (known.balance or known.held)
        refusal = "account_not_empty" if status == "closed" and not empty else None
        self.send("PATCH", f"/v1/accounts/{account}", {"status": status}, refusal)
        if refusal is None:
            known.status = status

    @rule(target=payments, source=accounts, destination=accounts, amount=amounts)
    def transfer(self, source: str, destination: str, amount: int) -> Any:
        body = {"source": source, "destination": destination, "amount": str(amount), "asset": "USD"}
        refusal = self.refusal_to_move(source, destination, amount)
        answer = self.send("POST", "/v1/transfers", body, refusal)
        if refusal is not None:
            return multiple()
        self.move(source, destination, amount)
        identifier: str = answer["id"]
        self.known_payments[identifier] = Payment(source, destination, amount)
        return identifier

    @rule(target=holds, source=accounts, destination=accounts, amount=amounts)
    def hold(self, source: str, destination: str, amount: int) -> Any:
        body = {"source": source, "destination": destination, "amount": str(amount), "asset": "USD"}
        refusal = self.refusal_to_move(source, destination, amount)
        answer = self.send("POST", "/v1/holds", body, refusal)
        if refusal is not None:
            return multiple()
        self.known[source].held += amount
        identifier: str = answer["id"]
        self.known_holds[identifier] = Hold(source, destination, amount)
        return identifier

    @rule(target=payments, hold=holds, part=parts, final=st.booleans())
    def capture(self, hold: str, part: int | None, final: bool) -> Any:
        known = self.known_holds[hold]
        amount = known.remaining if part is None else part
        refusal = None
        if known.status != "open":
            refusal = "hold_not_open"
        elif amount > known.remaining:
            refusal = "capture_exceeds_hold"
        elif "closed" in {self.known[known.source].status, self.known[known.destination].status}:
            refusal = "account_closed"
        body: dict[str, Any] = {"final": final, **({} if part is None else {"amount": str(part)})}
        answer = self.send("POST", f"/v1/holds/{hold}/capture", body, refusal)
        if refusal is not None:
            return multiple()
        self.move(known.source, known.destination, amount)
        released = known.remaining if final else amount
        self.known[known.source].held -= released
        known.remaining -= released
        known.status = "captured" if final or not known.remaining else "open"
        assert (answer["status"], answer["remaining"]) == (known.status, str(known.remaining))
        identifier: str = answer["transaction"]
        self.known_payments[identifier] = Payment(known.source, known.destination, amount)
        return identifier

    @rule(hold=holds)
    def void(self, hold: str) -> None:
        known = self.known_holds[hold]
        refusal = None if known.status == "open" else "hold_not_open"
        self.send("POST", f"/v1/holds/{hold}/void", {}, refusal)
        if refusal is None:
            self.known[known.source].held -= known.remaining
            known.remaining, known.status = 0, "voided"

    @rule(payment=payments, part=parts)
    def reverse(self, payment: str, part: int | None) -> None:
        known = self.known_payments[payment]
        amount = known.remaining if part is None else part
        if not 0 < amount <= known.remaining:
            refusal: str | None = "reversal_exceeds_original"
        else:
            refusal = self.refusal_to_move(known.destination, known.source, amount)
        body = {} if part is None else {"amount": str(part)}
        self.send("POST", f"/v1/transactions/{payment}/reverse", body, refusal)
        if refusal is None:
            self.move(known.destination, known.source, amount)
            known.remaining -= amount

    @precondition(lambda self: bool(self.sent))
    @rule(data=st.data())
    def replay(self, data: st.DataObject) -> None:
        method, path, body, key, first = data.draw(st.sampled_from(self.sent), label="request")
        again = self.client.send(method, path, body, key=key)
        assert (again.status, again.body) == (first.status, first.body)

    @precondition(lambda self: bool(self.sent))
    @rule(data=st.data())
    def reuse_a_key(self, data: st.DataObject) -> None:
        *_, key, _ = data.draw(st.sampled_from(self.sent), label="request")
        other = {"owner": f"{self.owner} of another name", "asset": "USD"}
        answer = self.client.send("POST", "/v1/accounts", other, key=key)
        assert answer.refused()[:2] == (422, "idempotency_key_reused")

    @invariant()
    def balances_are_the_models(self) -> None:
        found = self.client.get("/v1/accounts", owner=self.owner).ok()["items"]
        assert {
            account["id"]: (int(account["balance"]), int(account["held"]), account["status"])
            for account in found
        } == {name: (known.balance, known.held, known.status) for name, known in self.known.items()}
        assert sum(int(account["balance"]) for account in found) == 0


def test_the_ledger_is_the_models(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    seed = int(os.environ.get("TALLYSTICK_TEST_SEED") or random.randrange(2**32))
    with capsys.disabled():
        print(f"\nhypothesis: TALLYSTICK_TEST_SEED={seed}")  # noqa: T201 - to run it again

    @hypothesis.seed(seed)
    class LedgerOfThisServer(Ledger):
        def __init__(self) -> None:
            super().__init__(client)

    run_state_machine_as_test(
        LedgerOfThisServer,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS_PER_EXAMPLE,
            deadline=None,
            database=None,
            print_blob=True,
            phases=set(Phase) - {Phase.explain},
            suppress_health_check=list(HealthCheck),
        ),
    )
