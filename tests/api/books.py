"""A test's own little ledger, written and compared as text.

    alice  USD  100  held 30
    bob    USD    0

Each test opens its own accounts under names of its own, so tests do not see each other.
"""

import uuid
from itertools import pairwise
from typing import Any

from tests.api.client import Answer, Client

Line = tuple[str, str, int, int]


class Books:
    """Accounts by name, and what tests do with them."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.owner = f"owner {uuid.uuid4()}"
        self._accounts: dict[str, str] = {}
        self._assets: dict[str, str] = {}

    def __getitem__(self, name: str) -> str:
        """An account's identifier by its name; anything else is an identifier already."""
        return self._accounts.get(name, name)

    def open(self, ledger: str) -> None:
        """Open accounts and fund them. A line may end in terms: `min`, `max`, `kind`."""
        for name, asset, balance, terms in _lines(ledger):
            fields: dict[str, Any] = {"owner": f"{self.owner}/{name}", "asset": asset}
            fields |= {_FIELDS[term]: None if value == "none" else value for term, value in terms.items()}
            self._accounts[name] = self.client.post("/v1/accounts", fields).ok()["id"]
            self._assets[name] = asset
            if balance > 0:
                self.transfer(self._world(asset), name, balance).ok()
            elif balance < 0:
                self.transfer(name, self._world(asset), -balance).ok()

    def check(self, ledger: str) -> None:
        """Compare balances, and what of them is held, with a ledger."""
        expected = [
            (name, asset, balance, int(terms.get("held", 0)))
            for name, asset, balance, terms in _lines(ledger)
        ]
        assert [self._line(name) for name, *_ in expected] == expected

    def account(self, name: str) -> Answer:
        return self.client.get(f"/v1/accounts/{self[name]}")

    def change(self, name: str, *, key: str | None = None, **changes: Any) -> Answer:
        return self.client.patch(f"/v1/accounts/{self[name]}", changes, key=key)

    def transfer(
        self, source: str, destination: str, amount: int | str, *, key: str | None = None, **fields: Any
    ) -> Answer:
        return self.client.post("/v1/transfers", self.payment(source, destination, amount, **fields), key=key)

    def payment(self, source: str, destination: str, amount: int | str, **fields: Any) -> dict[str, Any]:
        """The body of a transfer, or of a hold."""
        return {
            "source": self[source],
            "destination": self[destination],
            "amount": str(amount),
            "asset": self._assets.get(source, "USD"),
            **fields,
        }

    def post(self, ledger: str, *, key: str | None = None, **fields: Any) -> Answer:
        """Post a transaction whose entries are lines of `name amount`."""
        entries = [
            {"account": self[name], "amount": amount} for name, amount in map(str.split, _texts(ledger))
        ]
        return self.client.post("/v1/transactions", {"entries": entries, **fields}, key=key)

    def hold(
        self, source: str, destination: str, amount: int | str, *, key: str | None = None, **fields: Any
    ) -> Answer:
        return self.client.post("/v1/holds", self.payment(source, destination, amount, **fields), key=key)

    def capture(
        self, hold: str, amount: int | None = None, *, key: str | None = None, **fields: Any
    ) -> Answer:
        body = fields if amount is None else {"amount": str(amount), **fields}
        return self.client.post(f"/v1/holds/{hold}/capture", body, key=key)

    def void(self, hold: str, *, key: str | None = None, **fields: Any) -> Answer:
        return self.client.post(f"/v1/holds/{hold}/void", fields, key=key)

    def reverse(
        self, transaction: str, amount: int | None = None, *, key: str | None = None, **fields: Any
    ) -> Answer:
        body = fields if amount is None else {"amount": str(amount), **fields}
        return self.client.post(f"/v1/transactions/{transaction}/reverse", body, key=key)

    def balance(self, name: str, **query: Any) -> Answer:
        return self.client.get(f"/v1/accounts/{self[name]}/balance", **query)

    def history(self, name: str, **query: Any) -> Answer:
        return self.client.get(f"/v1/accounts/{self[name]}/entries", **query)

    def _world(self, asset: str) -> str:
        """The other side of what a test's accounts begin with."""
        name = f"world of {asset}"
        if name not in self._accounts:
            fields = {"owner": self.owner, "asset": asset, "kind": "system"}
            self._accounts[name] = self.client.post("/v1/accounts", fields).ok()["id"]
            self._assets[name] = asset
        return name

    def _line(self, name: str) -> Line:
        found = self.account(name).ok().json
        assert int(found["available"]) == int(found["balance"]) - int(found["held"])
        return name, found["asset"], int(found["balance"]), int(found["held"])


_FIELDS = {"min": "min_balance", "max": "max_balance", "kind": "kind"}


def _texts(ledger: str) -> list[str]:
    return [line.strip() for line in ledger.splitlines() if line.strip()]


def _lines(ledger: str) -> list[tuple[str, str, int, dict[str, str]]]:
    lines = []
    for line in _texts(ledger):
        name, asset, balance, *rest = line.split()
        lines.append((name, asset, int(balance), dict(list(pairwise(rest))[::2])))
    return lines
