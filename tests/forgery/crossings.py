"""Builds the logs of two shards with some of everything that crosses between them, step by step."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from tallystick.domain.accounts import DEFAULT_MIN_BALANCE, AccountKind
from tallystick.domain.commands import (
    CaptureHold,
    Command,
    Leg,
    OpenAccount,
    PlaceHold,
    PostTransaction,
    Reverse,
    Transfer,
)
from tallystick.domain.identifiers import make_identifier, shard_of
from tallystick.domain.limits import LOCAL_NUMBER_MAX
from tallystick.domain.outcomes import Outcome, Posted, Refused
from tallystick.domain.saga_commands import Credit, Finalize, RefuseCredit, Release
from tallystick.domain.sagas import SagaState, credit_request
from tallystick.ledger.crossing.two_phase.deciding import CrossingCommand
from tallystick.ledger.crossing.two_phase.pairs import Coordinator
from tallystick.ledger.request_queue import DecidedOutcome
from tallystick.ledger.shard import Shard

TENANT = 1
ONE, TWO = 1, 2
# A hold is captured before its time is over, and that ends after it. Where the machine is too slow, there is more.
LATE_SECONDS = (0.3, 3.0, 30.0)


@asynccontextmanager
async def two_shards(dsns: Mapping[int, str]) -> AsyncIterator[dict[int, Shard]]:
    """Two shards that can be written to, and nobody who drives their sagas."""
    shards = {number: Shard(number, dsn) for number, dsn in dsns.items()}
    for shard in shards.values():
        await shard.start()
        await shard.batcher.connected()
    try:
        yield shards
    finally:
        for shard in shards.values():
            await shard.stop()


async def build_crossings(dsns: Mapping[int, str]) -> dict[str, int]:
    """Two logs with some of everything that crosses. Returns positions by what stands there, and accounts."""
    async with two_shards(dsns) as shards:
        builder = CrossingBuilder(shards)
        await builder.open_accounts()
        await builder.cross()
        await builder.hold()
        await builder.reverse()
        await builder.post_together()
        await builder.leave_open()
        builder.marks["local_half"] = make_identifier(TWO, builder.marks["local_there"])
        builder.marks["beyond"] = builder.marks["last"] + 1
        builder.marks["no_saga"] = make_identifier(ONE, builder.marks["local"])
        # Clearing accounts are opened just before the first step that moves them.
        builder.marks["opening_clearing"] = builder.marks["paid_credit"] - 1
        return builder.marks


class CrossingBuilder:
    """Takes one step after another, and notes what stands where."""

    def __init__(self, shards: Mapping[int, Shard]) -> None:
        self.shards = shards
        self.marks: dict[str, int] = {}

    async def submit(self, shard: int, command: Command) -> DecidedOutcome:
        (answer,) = await self.shards[shard].batcher.submit([command])
        return answer

    async def post(self, mark: str, command: Command, shard: int) -> int:
        """Have a command posted; returns its position."""
        answer = await self.submit(shard, command)
        assert isinstance(answer.outcome, Posted), answer.outcome
        self.marks[mark] = answer.outcome.position
        return answer.outcome.position

    async def open_account(
        self, owner: str, shard: int, kind: AccountKind = AccountKind.WALLET, max_balance: int | None = None
    ) -> int:
        account = make_identifier(shard, 1 + secrets.randbelow(LOCAL_NUMBER_MAX))
        command = OpenAccount(
            tenant=TENANT,
            account=account,
            owner=owner,
            asset="USD",
            kind=kind,
            min_balance=DEFAULT_MIN_BALANCE[kind],
            max_balance=max_balance,
        )
        await self.post(f"opening_{owner}", command, shard)
        self.marks[owner] = account
        return account

    def transfer(self, source: str, destination: str, amount: int) -> Transfer:
        return Transfer(
            tenant=TENANT,
            source=self.marks[source],
            destination=self.marks[destination],
            amount=amount,
            asset="USD",
        )

    # The steps of a saga, each noted by the saga's name.

    async def reserve(self, name: str, command: Command, shard: int) -> SagaState:
        answer = await self.submit(shard, command)
        assert isinstance(answer.outcome, Posted), answer.outcome
        position = answer.outcome.position
        self.marks[name] = position
        self.marks[f"{name}_saga"] = make_identifier(shard, position)
        return next(saga for saga in answer.decision.appended.sagas if saga.position == position)

    async def credit(self, name: str, saga: SagaState, *, give_up: bool = False) -> Outcome:
        identifier = self.marks[f"{name}_saga"]
        request = credit_request(identifier)
        command: Command = (
            RefuseCredit(tenant=TENANT, request=request, saga=identifier)
            if give_up
            else Credit(tenant=TENANT, request=request, saga=identifier, terms=saga.terms, note=saga.note)
        )
        outcome = (await self.submit(saga.terms.other_shard, command)).outcome
        if isinstance(outcome, Posted):
            self.marks[f"{name}_credit"] = outcome.position
        return outcome

    async def end(self, name: str, saga: SagaState, credited: Outcome) -> None:
        identifier = self.marks[f"{name}_saga"]
        command: Command = (
            Release(tenant=TENANT, saga=identifier, terms=saga.terms, refusal=credited)
            if isinstance(credited, Refused)
            else Finalize(tenant=TENANT, saga=identifier, terms=saga.terms, counterpart=credited.position)
        )
        await self.post(f"{name}_end", command, shard_of(identifier))

    async def saga(self, name: str, command: Command, shard: int, *, give_up: bool = False) -> None:
        """A whole saga, from its reservation to its end."""
        saga = await self.reserve(name, command, shard)
        await self.end(name, saga, await self.credit(name, saga, give_up=give_up))

    # What is built.

    async def open_accounts(self) -> None:
        for shard, owners in ((ONE, ("alice", "bob")), (TWO, ("carol", "dave"))):
            bank = f"bank_{shard}"
            await self.open_account(bank, shard, AccountKind.SYSTEM)
            for owner in owners:
                await self.open_account(owner, shard)
                await self.post(f"funding_{owner}", self.transfer(bank, owner, 10_000), shard)
        await self.open_account("capped", TWO, max_balance=500)

    async def cross(self) -> None:
        """Paid, refused and given up, in both directions, and one payer with several payees."""
        await self.saga("paid", self.transfer("alice", "carol", 1_000), ONE)
        await self.saga("paid_again", self.transfer("bob", "carol", 200), ONE)
        await self.saga("paid_back", self.transfer("carol", "bob", 150), TWO)
        marks = self.marks
        split = PostTransaction(
            tenant=TENANT,
            entries=((marks["alice"], -300), (marks["carol"], 200), (marks["dave"], 100)),
            foreign_assets={marks["carol"]: "USD", marks["dave"]: "USD"},
        )
        await self.saga("split", split, ONE)
        await self.saga("refused", self.transfer("alice", "capped", 600), ONE)
        await self.saga("given_up", self.transfer("alice", "dave", 50), ONE, give_up=True)
        await self.post("local", self.transfer("alice", "bob", 5), ONE)
        await self.post("local_there", self.transfer("carol", "dave", 5), TWO)

    async def together(self, name: str, command: Transfer | PostTransaction, shard: int) -> None:
        """Have something that crosses posted on both shards by two-phase commit."""
        coordinator = Coordinator(self.shards[ONE], self.shards[TWO])
        try:
            (answer,) = await coordinator.submit([CrossingCommand(shard, command)])
        finally:
            await coordinator.stop()
        assert isinstance(answer.outcome, Posted), answer.outcome
        self.marks[name] = answer.outcome.position
        assert answer.other is not None
        self.marks[f"{name}_received"] = answer.other.appended.transactions[-1].position

    async def post_together(self) -> None:
        """Halves that were sent and received, in both directions, and one that is given back."""
        marks = self.marks
        await self.together("together", self.transfer("alice", "carol", 77), ONE)
        await self.together("together_back", self.transfer("dave", "bob", 78), TWO)
        split = PostTransaction(
            tenant=TENANT,
            entries=((marks["alice"], -20), (marks["bob"], -10), (marks["carol"], 15), (marks["dave"], 15)),
            foreign_assets={marks["carol"]: "USD", marks["dave"]: "USD"},
        )
        await self.together("together_split", split, ONE)
        received = make_identifier(TWO, marks["together_received"])
        payer = Leg(marks["alice"], 77, "USD", "id")
        reverse = Reverse(tenant=TENANT, transaction=received, amount=40, payers=(payer,))
        await self.saga("together_reversed", reverse, TWO)

    async def place_hold(self, name: str, destination: str, amount: int, seconds: float = 3_600) -> int:
        command = PlaceHold(
            tenant=TENANT,
            source=self.marks["alice"],
            destination=self.marks[destination],
            amount=amount,
            asset="USD",
            expires_in_us=round(seconds * 1_000_000),
            foreign_assets={self.marks[destination]: "USD"},
        )
        return make_identifier(ONE, await self.post(name, command, ONE))

    async def hold(self) -> None:
        """Holds that are captured to the other shard: in part, finally, in vain, and too late."""
        hold = await self.place_hold("placed", "carol", 900)
        await self.saga("captured", CaptureHold(tenant=TENANT, hold=hold, amount=200), ONE)
        await self.saga("captured_last", CaptureHold(tenant=TENANT, hold=hold, amount=100, final=True), ONE)
        in_vain = await self.place_hold("placed_in_vain", "capped", 700)
        await self.saga("captured_in_vain", CaptureHold(tenant=TENANT, hold=in_vain, amount=600), ONE)
        await self.capture_late("late", "carol", 10)
        await self.capture_late("too_late", "capped", 600)

    async def capture_late(self, name: str, destination: str, amount: int) -> None:
        for seconds in LATE_SECONDS:
            hold = await self.place_hold(f"placed_{name}", destination, 800, seconds)
            capture = CaptureHold(tenant=TENANT, hold=hold, amount=amount)
            try:
                saga = await self.reserve(name, capture, ONE)
            except AssertionError:
                await asyncio.sleep(seconds)
                continue
            await asyncio.sleep(seconds)
            await self.end(name, saga, await self.credit(name, saga))
            return
        raise AssertionError("the hold was over each time")

    async def reverse(self) -> None:
        """What was paid is given back: in part, and a second time in vain, because it was given up."""
        credit = make_identifier(TWO, self.marks["paid_credit"])
        payer = Leg(self.marks["alice"], 1_000, "USD", "id")
        reverse = Reverse(tenant=TENANT, transaction=credit, amount=400, payers=(payer,))
        await self.saga("reversed", reverse, TWO)
        again = Reverse(tenant=TENANT, transaction=credit, amount=600, payers=(payer,))
        await self.saga("reversed_in_vain", again, TWO, give_up=True)
        await self.saga("reversed_rest", again, TWO)

    async def leave_open(self) -> None:
        await self.reserve("reserved", self.transfer("alice", "carol", 11), ONE)
        credited = await self.reserve("credited", self.transfer("bob", "dave", 22), ONE)
        await self.credit("credited", credited)
        there = await self.reserve("credited_there", self.transfer("dave", "bob", 33), TWO)
        await self.credit("credited_there", there)
        in_vain = await self.reserve("refused_open", self.transfer("alice", "capped", 601), ONE)
        await self.credit("refused_open", in_vain)
        hold = await self.place_hold("placed_open", "carol", 70)
        await self.reserve("capturing", CaptureHold(tenant=TENANT, hold=hold, amount=7), ONE)
        await self.post("last", self.transfer("alice", "bob", 1), ONE)
        await self.post("last_there", self.transfer("carol", "dave", 1), TWO)
