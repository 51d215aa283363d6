"""A right run by hand: a toy ledger of two shards writes a history and a final state, for the tests of checks."""

import json
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from tests.chaos.checks.evidence import Evidence
from tests.chaos.final_state import BalanceSeen, FinalState
from tests.chaos.history import Attempt, Completed, Fault, History, Invoked
from tests.chaos.messages import Account, Balance, Crossing, CrossingEntry, Entry, Event, HistoryEntry, Hold

SERVERS: Final = ("http://one", "http://two")
BEGIN: Final = datetime(2026, 1, 1, tzinfo=UTC)
ANSWER_US: Final = 500
TURN_US: Final = 1_000_000


class Toy:
    """Two shards, and one client that does one thing after another."""

    def __init__(self) -> None:
        self.final = FinalState()
        self.final.log = {1: [], 2: []}
        self.final.feed = {1: [], 2: []}
        self.attempts: list[Attempt] = []
        self.faults: list[Fault] = []
        self.now_us = 0
        self._balances: dict[str, int] = {}
        self._held: dict[str, int] = {}
        self._positions: dict[str, int] = {}

    # The log.

    def open(self, name: str, shard: int, kind: str = "wallet", min_balance: int | None = 0) -> str:
        """Open an account."""
        account = Account(name, name, "USD", kind, min_balance, None, 0, 0, 0, 0, shard)
        if kind != "clearing":
            self.final.accounts[name] = account
        self._balances[name] = self._held[name] = self._positions[name] = 0
        self._append(shard, "account_opened", account=account, part="account_opened")
        return name

    def pay(
        self, key: str, source: str, destination: str, amount: int, *, refers_to: str | None = None
    ) -> Event:
        """Move money, on one shard or between two; the event that its answer is about."""
        kind = "transfer" if refers_to is None else "reversal"
        here, there = self._shard(source), self._shard(destination)
        if here == there:
            return self._append(
                here, kind, [(source, -amount, 0), (destination, amount, 0)],
                part=kind, description=key, refers_to=refers_to,
            )  # fmt: skip
        return self._cross(kind, key, (source, destination), amount, refers_to=refers_to)

    def _cross(
        self,
        kind: str,
        key: str,
        pair: tuple[str, str],
        amount: int,
        *,
        refers_to: str | None,
        hold: Hold | None = None,
    ) -> Event:
        source, destination = pair
        here, there = self._shard(source), self._shard(destination)
        crossing = Crossing(
            "", kind, "pending",
            [CrossingEntry(source, "USD", -amount), CrossingEntry(destination, "USD", amount)], None,
        )  # fmt: skip
        reserving = [] if hold else [(source, 0, amount)]
        reserved = self._append(here, "transfer_reserved", reserving, description=key, crossing=crossing)
        crossing.transaction = reserved.transaction
        self._append(
            there, "transfer_credited", [(f"clearing {there}", -amount, 0), (destination, amount, 0)],
            part=kind, payment=reserved.transaction, description=key, refers_to=reserved.transaction,
            shown_refers_to=refers_to,
        )  # fmt: skip
        done = msgspec.structs.replace(crossing, state="posted")
        self._append(
            here, "transfer_finalized", [(source, -amount, -amount), (f"clearing {here}", amount, 0)],
            part=kind, payment=reserved.transaction, refers_to=reserved.transaction, crossing=done, hold=hold,
            shown_refers_to=refers_to,
        )  # fmt: skip
        return reserved

    def release(self, key: str, source: str, destination: str, amount: int) -> Event:
        """Reserve a payment between shards, and give it back."""
        here = self._shard(source)
        crossing = Crossing(
            "", "transfer", "pending",
            [CrossingEntry(source, "USD", -amount), CrossingEntry(destination, "USD", amount)], None,
        )  # fmt: skip
        reserved = self._append(
            here, "transfer_reserved", [(source, 0, amount)], description=key, crossing=crossing
        )
        crossing.transaction = reserved.transaction
        refused = msgspec.structs.replace(crossing, state="refused")
        self._append(
            here, "transfer_released", [(source, 0, -amount)],
            refers_to=reserved.transaction, crossing=refused,
        )  # fmt: skip
        return reserved

    def hold(self, key: str, source: str, destination: str, amount: int, seconds: int = 600) -> Hold:
        """Set money aside."""
        expires_at = BEGIN + timedelta(microseconds=self.now_us, seconds=seconds)
        hold = Hold("", "open", source, destination, amount, 0, amount, expires_at, "", 0)
        event = self._append(
            self._shard(source), "hold_placed", [(source, 0, amount)],
            part="hold_placed", description=key, hold=hold,
        )  # fmt: skip
        hold.id = f"hold {event.transaction}"
        self.final.holds[hold.id] = hold
        return hold

    def capture(self, key: str, hold: Hold) -> Event:
        """Pay what is left of a hold."""
        amount = hold.remaining
        changed = msgspec.structs.replace(
            hold, status="captured", captured=hold.amount, remaining=0
        )  # fmt: skip
        self.final.holds[hold.id] = changed
        if self._shard(hold.source) != self._shard(hold.destination):
            return self._cross(
                "hold_captured", key, (hold.source, hold.destination), amount, refers_to=hold.id, hold=changed
            )
        return self._append(
            self._shard(hold.source), "hold_captured",
            [(hold.source, -amount, -amount), (hold.destination, amount, 0)],
            part="hold_captured", description=key, refers_to=hold.id, hold=changed,
        )  # fmt: skip

    def end_hold(self, key: str | None, hold: Hold) -> Event:
        """Void a hold, or without a key let it expire."""
        kind = "hold_voided" if key else "hold_expired"
        changed = msgspec.structs.replace(hold, status=kind.removeprefix("hold_"), remaining=0)
        self.final.holds[hold.id] = changed
        return self._append(
            self._shard(hold.source), kind, [(hold.source, 0, -hold.remaining)],
            part=kind, description=key, refers_to=hold.id, hold=changed,
        )  # fmt: skip

    def _shard(self, account: str) -> int:
        return self.final.accounts[account].shard

    def _append(
        self,
        shard: int,
        kind: str,
        changes: list[tuple[str, int, int]] | None = None,
        *,
        part: str | None = None,
        payment: str | None = None,
        description: str | None = None,
        refers_to: str | None = None,
        shown_refers_to: str | None = None,
        account: Account | None = None,
        hold: Hold | None = None,
        crossing: Crossing | None = None,
    ) -> Event:
        """Append to a shard's log and, as a part of a payment, to its feed."""
        log = self.final.log[shard]
        position = len(log) + 1
        name = f"txn {shard} {position}"
        entries = []
        for one, amount, held in changes or ():
            self._balances[one] += amount
            self._held[one] += held
            self._positions[one] = position
            entries.append(Entry(one, "USD", amount, self._balances[one], held, self._held[one]))
        if hold is not None:
            hold.transaction = payment or name
            hold.position = position
        event = Event(
            shard, position, name, kind, BEGIN + timedelta(microseconds=self.now_us),
            refers_to, description, entries, account, hold, crossing,
        )  # fmt: skip
        log.append(event)
        if part is not None:
            shown = [entry for entry in entries if not entry.account.startswith("clearing")]
            self.final.feed[shard].append(
                msgspec.structs.replace(
                    event, transaction=payment or name, kind=part, entries=shown,
                    refers_to=shown_refers_to if payment else refers_to,
                )
            )  # fmt: skip
        return event

    # The history.

    def ask(
        self, kind: str, path: str, body: dict[str, Any] | None, status: int | None, answer: Any,
        *, key: str | None = None, server: int = 0,
    ) -> Attempt:  # fmt: skip
        """A request and its answer."""
        self.now_us += TURN_US
        number = len(self.attempts) + 1
        invoked = Invoked(
            number, 1, number, kind, self.now_us, SERVERS[server], "POST" if body else "GET", path, key,
            None if body is None else json.dumps(body),
        )  # fmt: skip
        text = None if answer is None else msgspec.json.encode(_texts(answer)).decode()
        error = "no answer in time" if status is None else None
        self.attempts.append(
            Attempt(invoked, Completed(number, self.now_us + ANSWER_US, status, text, error))
        )
        return self.attempts[-1]

    def answer_of(self, event: Event) -> dict[str, Any]:
        """The answer to a request that has moved money."""
        crosses = event.crossing is not None
        entries = [
            {
                "account": entry.account, "asset": "USD", "amount": entry.amount,
                "balance": None if crosses else entry.balance, "held": 0,
                "held_after": None if crosses else entry.held_after,
            }
            for entry in ([] if crosses else event.entries)
        ]  # fmt: skip
        return {
            "id": event.transaction, "kind": event.kind, "state": "posted", "position": event.position,
            "recorded_at": event.recorded_at, "refers_to": event.refers_to,
            "description": event.description, "entries": entries,
        }  # fmt: skip

    def ask_transfer(
        self,
        key: str,
        source: str,
        destination: str,
        amount: int,
        *,
        status: int | None,
        answer: Any,
        server: int = 0,
    ) -> None:
        """Ask for a transfer."""
        body = {"source": source, "destination": destination, "amount": str(amount), "description": key}
        self.ask("transfer", "/v1/transfers", body, status, answer, key=key, server=server)

    def transfer(
        self, key: str, source: str, destination: str, amount: int, *, status: int | None = 201
    ) -> Event:
        """Ask for a transfer that is made; without a status the answer is lost."""
        event = self.pay(key, source, destination, amount)
        answer = self.answer_of(event) if status else None
        self.ask_transfer(key, source, destination, amount, status=status, answer=answer)
        return event

    def place(self, key: str, source: str, destination: str, amount: int, seconds: int = 600) -> Hold:
        """Ask for a hold."""
        held = self.hold(key, source, destination, amount, seconds)
        body = {"source": source, "destination": destination, "amount": str(amount), "description": key}
        self.ask("hold", "/v1/holds", body, 201, held, key=key)
        return held

    def ask_about(self, kind: str, hold: Hold, body: dict[str, Any]) -> None:
        """Ask for the capture or the end of a hold, which has been made."""
        path = f"/v1/holds/{hold.id}/{kind}"
        self.ask(kind, path, body, 200, self.final.holds[hold.id], key=body["description"])

    def read(self, account: str, query: str = "", server: int = 0) -> Attempt:
        """Read a balance as it is now."""
        return self.ask(
            "balance",
            f"/v1/accounts/{account}/balance{query}",
            None,
            200,
            self.balance(account),
            server=server,
        )

    def balance(self, account: str) -> dict[str, Any]:
        """What a server says of an account now."""
        return {
            "account": account, "balance": self._balances[account], "held": self._held[account],
            "position": self._positions[account], "source": "database",
        }  # fmt: skip

    def end(self) -> Evidence:
        """The final state, and with it all evidence."""
        lines: dict[str, list[HistoryEntry]] = {}
        for events in self.final.feed.values():
            for event in events:
                for entry in event.entries:
                    assert entry.balance is not None
                    assert entry.held_after is not None
                    lines.setdefault(entry.account, []).insert(
                        0,
                        HistoryEntry(
                            event.transaction, event.kind, event.position, event.description,
                            entry.amount, entry.balance, entry.held, entry.held_after,
                        ),
                    )  # fmt: skip
        self.final.histories = lines
        self.final.holds = deepcopy(self.final.holds)
        for name, account in self.final.accounts.items():
            account.balance, account.held = self._balances[name], self._held[name]
            account.available, account.position = account.balance - account.held, self._positions[name]
            seen = Balance(name, account.balance, account.held, account.position, "database")
            self.final.balances += [
                BalanceSeen(server, consistency, seen)
                for server in SERVERS
                for consistency in ("fast", "strong")
            ]
        return Evidence(History(self.attempts, self.faults), self.final)


def right_run() -> Evidence:
    """A run with everything in it, and nothing wrong."""
    toy = Toy()
    for shard in (1, 2):
        toy.open(f"clearing {shard}", shard, "clearing", None)
        toy.open(f"bank {shard}", shard, "system", None)
    for name, shard in (("alice", 1), ("bob", 1), ("carol", 2)):
        toy.open(name, shard)
        toy.transfer(f"fund {name}", f"bank {shard}", name, 1_000)
    inside, across = _paid(toy)
    _unknown(toy)
    _held(toy)
    _reversed(toy, inside, across)
    at = (inside.recorded_at + timedelta(microseconds=1)).isoformat().replace("+00:00", "Z")
    then = {"account": "alice", "balance": 900, "held": 0, "position": inside.position, "source": "database"}
    toy.ask("balance", f"/v1/accounts/alice/balance?at={at}", None, 200, then)
    # The server loses its memory, and long after all is quiet a client reads.
    toy.faults.append(
        Fault("kill", SERVERS[0], toy.now_us, toy.now_us + TURN_US, "it was gone", restarts=True)
    )
    toy.now_us += 20 * TURN_US
    for account in ("alice", "bob", "carol"):
        toy.read(account)
    return toy.end()


def _paid(toy: Toy) -> tuple[Event, Event]:
    """Payments, one of them repeated and with another body, and reads of every consistency."""
    toy.read("alice")
    inside = toy.transfer("inside", "alice", "bob", 100)
    toy.read("alice", "?consistency=strong", server=1)
    toy.read("bob", f"?min_position={inside.position}", server=1)
    toy.read("bob")
    across = toy.transfer("across", "alice", "carol", 50)
    toy.read("carol", "?consistency=strong")
    both = {"accounts": ["alice"], "consistency": "strong"}
    toy.ask("balances", "/v1/balances", both, 200, {"balances": [toy.balance("alice")]})
    toy.ask_transfer("inside", "alice", "bob", 100, status=201, answer=toy.answer_of(inside), server=1)
    other = {"source": "alice", "destination": "bob", "amount": "101", "description": "inside (other body)"}
    toy.ask("transfer", "/v1/transfers", other, 422, {"code": "idempotency_key_reused"}, key="inside")
    toy.ask_transfer("too much", "alice", "bob", 99_999, status=422, answer={"code": "insufficient_funds"})
    return inside, across


def _unknown(toy: Toy) -> None:
    """Unknown, and there; unknown, and not there; pending, and then refused; pending, and then posted."""
    toy.transfer("lost after", "bob", "alice", 5, status=None)
    toy.ask_transfer("lost before", "bob", "alice", 6, status=503, answer={"code": "shard_unavailable"})
    released = toy.release("released", "alice", "carol", 20)
    toy.ask_transfer("released", "alice", "carol", 20, status=202, answer=toy.answer_of(released))
    toy.ask_transfer("released", "alice", "carol", 20, status=422, answer={"code": "account_closed"})
    late = toy.pay("late", "carol", "alice", 30)
    toy.ask_transfer("late", "carol", "alice", 30, status=202, answer=toy.answer_of(late))
    toy.ask_transfer("late", "carol", "alice", 30, status=201, answer=toy.answer_of(late))


def _held(toy: Toy) -> None:
    """Holds that are captured, on one shard and across two, voided and expired."""
    for key, destination in (("capture", "bob"), ("capture across", "carol")):
        held = toy.place(f"hold to {key}", "alice", destination, 40)
        toy.capture(key, held)
        toy.ask_about("capture", held, {"description": key, "final": False})
    held = toy.place("hold to void", "bob", "alice", 15)
    toy.end_hold("void", held)
    toy.ask_about("void", held, {"description": "void"})
    held = toy.place("hold to expire", "bob", "alice", 15, seconds=2)
    toy.now_us += 3 * TURN_US
    toy.end_hold(None, held)


def _reversed(toy: Toy, inside: Event, across: Event) -> None:
    """A payment that is reversed in part, and one that is reversed whole."""
    for key, source, original, amount in (
        ("reverse inside", "bob", inside, 60),
        ("reverse across", "carol", across, 50),
    ):
        reversal = toy.pay(key, source, "alice", amount, refers_to=original.transaction)
        path = f"/v1/transactions/{original.transaction}/reverse"
        body = {"description": key, "amount": str(amount)}
        toy.ask("reversal", path, body, 201, toy.answer_of(reversal), key=key)


def _texts(value: Any) -> Any:
    """A message as the API writes it: amounts are texts."""
    if isinstance(value, msgspec.Struct):
        value = msgspec.to_builtins(value)
    names = {"amount", "balance", "held", "held_after", "captured", "remaining"}
    if isinstance(value, dict):
        return {
            name: str(one) if name in names and isinstance(one, int) else _texts(one)
            for name, one in value.items()
        }
    return [_texts(one) for one in value] if isinstance(value, list) else value
