"""Builds a log with some of everything, through the package, and notes what stands where."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple, TypeVar

from tallystick import Ledger, Refused, TransferRequest, views
from tallystick.domain.identifiers import Prefix, parse_identifier
from tests.waiting import WAIT_SECONDS_MAX

Answer = TypeVar("Answer")


class Marks(NamedTuple):
    """Positions in the log that was built, by what stands there, and accounts by their owner."""

    positions: dict[str, int]
    accounts: dict[str, int]
    head: int


def posted(answer: Answer | Refused) -> Answer:
    assert not isinstance(answer, Refused), answer
    return answer


def refused(answer: object, code: str) -> None:
    assert isinstance(answer, Refused)
    assert answer.code.text == code


@asynccontextmanager
async def serving(dsn: str) -> AsyncIterator[Ledger]:
    """A ledger that can be written to already."""
    async with Ledger.connect(dsn) as ledger:
        (shard,) = ledger._engine.router.shards
        async with asyncio.timeout(WAIT_SECONDS_MAX):
            while not shard.batcher.available:  # noqa: ASYNC110 - the batcher tells nobody
                await asyncio.sleep(0.01)
        yield ledger


async def build(dsn: str) -> Marks:
    """A log with some of everything."""
    async with serving(dsn) as ledger:
        builder = Builder(ledger)
        await builder.open_accounts()
        await builder.transfer()
        await builder.transfer_many()
        await builder.hold()
        await builder.reverse()
        await builder.change_accounts()
        await builder.expire()
        await builder.finish()
    accounts = {
        owner: parse_identifier(Prefix.ACCOUNT, account) for owner, account in builder.accounts.items()
    }
    return Marks(builder.positions, accounts, builder.positions["last"])


class Builder:
    """Builds the log, one call and so one batch after another, and notes what stands where."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.accounts: dict[str, str] = {}
        self.positions: dict[str, int] = {}
        self.transaction = ""
        self.expiring = ""

    def mark(self, name: str, answer: views.Transaction | views.Hold | Refused) -> str:
        assert not isinstance(answer, Refused), answer
        self.positions[name] = answer.position
        return answer.id

    async def pay(self, source: str, destination: str, amount: int, key: str) -> views.Transaction | Refused:
        return await self.ledger.transfer(
            self.accounts[source], self.accounts[destination], amount, "USD", idempotency_key=key
        )

    async def lunch(self) -> views.Transaction | Refused:
        alice, bob = self.accounts["alice"], self.accounts["bob"]
        return await self.ledger.transfer(
            alice, bob, 1_250, "USD", idempotency_key="lunch", description="lunch"
        )

    async def open_accounts(self) -> None:
        open_account = self.ledger.open_account
        self.accounts["bank"] = posted(await open_account("bank", "USD", kind="system")).id
        self.accounts["desk"] = posted(await open_account("desk", "EUR", kind="system")).id
        for owner in ("alice", "bob", "carol"):
            account = posted(await open_account(owner, "USD", metadata={"plan": "basic"}))
            self.accounts[owner] = account.id
        self.positions["opening_carol"] = len(self.accounts)
        self.accounts["euros"] = posted(await open_account("alice", "EUR")).id
        self.accounts["capped"] = posted(await open_account("capped", "USD", max_balance=500)).id

    async def transfer(self) -> None:
        self.mark("funding", await self.pay("bank", "alice", 10_000, "fund alice"))
        self.mark("funding_bob", await self.pay("bank", "bob", 5_000, "fund bob"))
        self.transaction = self.mark("transfer", await self.lunch())
        assert posted(await self.lunch()).id == self.transaction
        refused(await self.pay("carol", "bob", 1, "poor"), "insufficient_funds")
        refused(await self.pay("bob", "capped", 501, "too much"), "balance_limit_exceeded")
        self.mark("capped", await self.pay("bob", "capped", 400, "capped"))

    async def transfer_many(self) -> None:
        """Many in one batch, two of them refused; and a group that falls together."""
        alice, bob, carol = [self.accounts[owner] for owner in ("alice", "bob", "carol")]
        requests = [
            TransferRequest(alice if number % 2 else bob, carol, number + 1, "USD", f"many {number}")
            for number in range(30)
        ]
        requests[7] = TransferRequest(carol, bob, 1_000_000, "USD", "more than there is")
        requests[21] = TransferRequest(carol, bob, 1_000_000, "USD", "far more than there is")
        answers = await self.ledger.transfers(requests)
        done = [answer.position for answer in answers if not isinstance(answer, Refused)]
        assert len(done) == 28
        self.positions["many_first"], self.positions["many"] = done[0], done[11]
        group = [
            TransferRequest(alice, bob, 1, "USD", "together 1"),
            TransferRequest(carol, bob, 1_000_000, "USD", "together 2"),
        ]
        for answer in await self.ledger.transfers(group, atomic=True):
            assert isinstance(answer, Refused)
        exchange = [
            (alice, -1_100),
            (self.accounts["bank"], 1_100),
            (self.accounts["desk"], -1_000),
            (self.accounts["euros"], 1_000),
        ]
        self.mark(
            "exchange",
            await self.ledger.post(exchange, idempotency_key="exchange", metadata={"rate": "1.10"}),
        )
        half_back = [(account, -amount // 2) for account, amount in exchange]
        self.mark("undone", await self.ledger.post(half_back, idempotency_key="half of it back"))

    async def hold(self) -> None:
        """Holds: captured in parts and ended by a last capture, voided, left to expire, left open."""
        ledger, (alice, bob, carol) = self.ledger, list(self.accounts.values())[2:5]
        hold = self.mark("placed", await ledger.hold(alice, bob, 900, "USD", idempotency_key="hold"))
        self.mark("captured", await ledger.capture(hold, 200, idempotency_key="part 1"))
        self.mark("captured_more", await ledger.capture(hold, 300, idempotency_key="part 2"))
        self.mark("captured_last", await ledger.capture(hold, 100, final=True, idempotency_key="part 3"))
        refused(await ledger.capture(hold, 1, idempotency_key="part 4"), "hold_not_open")
        voided = self.mark(
            "placed_to_void", await ledger.hold(bob, carol, 70, "USD", idempotency_key="hold 2")
        )
        self.mark("voided", await ledger.void(voided, idempotency_key="void"))
        self.expiring = self.mark(
            "placed_to_expire",
            await ledger.hold(bob, carol, 60, "USD", idempotency_key="hold 3", expires_in_seconds=1),
        )
        self.mark("placed_open", await ledger.hold(alice, bob, 50, "USD", idempotency_key="hold 4"))
        self.mark("placed_late", await ledger.hold(alice, bob, 40, "USD", idempotency_key="hold 5"))

    async def reverse(self) -> None:
        """Reversals in part and whole."""
        reverse = self.ledger.reverse
        self.mark("reversed_part", await reverse(self.transaction, 250, idempotency_key="reverse 1"))
        self.mark("reversed_rest", await reverse(self.transaction, idempotency_key="reverse 2"))
        refused(await reverse(self.transaction, 1, idempotency_key="reverse 3"), "reversal_exceeds_original")

    async def change_accounts(self) -> None:
        """Frozen and open again; bounds changed; closed at zero."""
        change, bob, capped = self.ledger.change_account, self.accounts["bob"], self.accounts["capped"]
        posted(await change(bob, status="frozen"))
        refused(await self.pay("bob", "alice", 1, "frozen"), "account_frozen")
        self.mark("while_frozen", await self.pay("alice", "bob", 5, "while frozen"))
        posted(await change(bob, status="open"))
        self.mark("unfrozen", await self.pay("bob", "alice", 5, "unfrozen"))
        self.positions["unfreezing"] = self.positions["unfrozen"] - 1
        posted(await change(capped, max_balance=300))
        self.mark("emptied", await self.pay("capped", "bob", 400, "emptied"))
        posted(await change(capped, status="closed"))
        self.positions["closing"] = self.positions["emptied"] + 1

    async def expire(self) -> None:
        async with asyncio.timeout(WAIT_SECONDS_MAX):
            while (hold := posted(await self.ledger.held(self.expiring))).status == "open":  # noqa: ASYNC110 - time has to pass
                await asyncio.sleep(0.1)
        assert hold.status == "expired"
        self.positions["expired"] = hold.position

    async def finish(self) -> None:
        self.mark("last", await self.pay("alice", "bob", 3, "last"))
        self.positions["beyond"] = self.positions["last"] + 1
