"""Reads that ask for a standby: a standby answers, or the read is refused, and nothing else depends on it."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, closing
from pathlib import Path

import pytest
from psycopg.conninfo import make_conninfo

from tallystick import (
    AccountNotFoundError,
    NoStandbyError,
    ParameterError,
    PositionNotReachedError,
    StandbyUnavailableError,
    views,
)
from tallystick.domain import limits
from tallystick.domain.identifiers import Prefix, format_identifier, parse_identifier
from tallystick.embedded.processes import send_signal
from tallystick.followers.cache.balances import FoundBalance
from tallystick.followers.standby import StandbyReader
from tallystick.store import standby
from tallystick.store.primary import connect_to_primary
from tallystick.store.queries import query
from tests.crash.api_server import ApiServer, Client
from tests.crash.databases import ShardDatabase, one_value
from tests.crash.hanging import hanging
from tests.failover.pairs import Pair, replicated_shard, socket_folder, with_servers
from tests.failover.payments import PATIENCE_SECONDS, Payer, payer
from tests.ports import HOST
from tests.waiting import until, wait_for

Scenario = Callable[[Pair, pytest.MonkeyPatch], Awaitable[None]]
Plant = Callable[[pytest.MonkeyPatch], None]

READERS = 8
LOST_SECONDS = 4.0
# How late a busy machine may be.
LATE_SECONDS = 1.0


@pytest.fixture
def own_pair() -> Iterator[Pair]:
    """A pair that the test may break."""
    with replicated_shard() as pair:
        yield pair


async def of_standby(payer: Payer, min_position: int = 0) -> views.Balance:
    return await payer.ledger.balance(payer.destination, standby=True, min_position=min_position)


async def a_standby_answers(pair: Pair, _: pytest.MonkeyPatch) -> None:
    async with payer(pair.dsn) as one:
        posted = await one.pay("first")
        now = await of_standby(one, posted.position)
        assert (now.balance, now.position, now.source) == (1, posted.position, "standby")
        accounts = [one.destination, one.source]
        many = await one.ledger.balances(
            accounts, standby=True, min_positions=dict.fromkeys(accounts, posted.position)
        )
        assert [(found.balance, found.source) for found in many.balances] == [(1, "standby"), (-1, "standby")]
        # Nothing else is read there.
        for strong in (False, True):
            assert (await one.ledger.balance(one.destination, strong=strong)).source == "database"


async def the_standby_is_behind(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    async with payer(pair.dsn) as one:
        first = await one.pay("first")
        assert (await of_standby(one, first.position)).balance == 1
        with pair.paused():
            second = await one.pay("second")
            old = await of_standby(one)
            assert (old.balance, old.position, old.source) == (1, first.position, "standby")
            assert (await of_standby(one, first.position)).position == first.position
            started = time.monotonic()
            with pytest.raises(PositionNotReachedError, match=f"standby .* {second.position}$"):
                await of_standby(one, second.position)
            waited_seconds = time.monotonic() - started
            assert 0 < waited_seconds - limits.POSITION_WAIT_SECONDS_MAX < LATE_SECONDS
            monkeypatch.setattr(limits, "POSITION_WAIT_SECONDS_MAX", PATIENCE_SECONDS)
            waiting = asyncio.create_task(of_standby(one, second.position))
            await asyncio.sleep(3 * limits.POSITION_LOOK_SECONDS)
            assert not waiting.done()
        new = await waiting
        assert (new.balance, new.position, new.source) == (2, second.position, "standby")


async def the_standby_is_promoted(pair: Pair, _: pytest.MonkeyPatch) -> None:
    """The connection that the ledger has to it outlives this, and its primary is still there."""
    async with payer(pair.dsn) as one:
        posted = await one.pay("first")
        assert (await of_standby(one, posted.position)).source == "standby"
        await asyncio.to_thread(pair.promote)
        in_recovery = "SELECT pg_is_in_recovery()::int"
        await until(lambda: not one_value(pair.standby.dsn(), in_recovery), "it is promoted")
        for _turn in range(3):
            found = await refusal(one)
            assert isinstance(found, StandbyUnavailableError), found


async def refusal(payer: Payer) -> views.Balance | StandbyUnavailableError:
    """What a read of a standby is answered with."""
    try:
        return await of_standby(payer)
    except StandbyUnavailableError as error:
        return error


@pytest.mark.parametrize("scenario", [a_standby_answers, the_standby_is_behind])
async def test_what_a_standby_has(pair: Pair, monkeypatch: pytest.MonkeyPatch, scenario: Scenario) -> None:
    await scenario(pair, monkeypatch)


async def test_a_standby_that_is_promoted_is_no_standby(
    own_pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    await the_standby_is_promoted(own_pair, monkeypatch)


def the_primary_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standby, "connect_to_standby", connect_to_primary)
    any_server_will_do(monkeypatch)


def any_server_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    text = query("standby_balances")
    assert "pg_is_in_recovery()" in text
    monkeypatch.setattr(standby, "query", lambda _: text.replace("pg_is_in_recovery()", "true"))


def min_position_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    read = StandbyReader.read

    async def ignoring(
        self: StandbyReader, accounts: Sequence[int], *, min_position: int = 0
    ) -> dict[int, FoundBalance]:
        del min_position
        return await read(self, accounts)

    monkeypatch.setattr(StandbyReader, "read", ignoring)


@pytest.mark.parametrize(
    ("scenario", "plant"),
    [
        (the_standby_is_behind, the_primary_is_read),
        (the_standby_is_behind, min_position_is_ignored),
        (the_standby_is_promoted, any_server_will_do),
    ],
)
async def test_a_planted_bug_is_seen(
    own_pair: Pair, monkeypatch: pytest.MonkeyPatch, scenario: Scenario, plant: Plant
) -> None:
    plant(monkeypatch)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        await scenario(own_pair, monkeypatch)


@asynccontextmanager
async def reading(payer: Payer) -> AsyncIterator[list[float]]:
    """Reads of a standby without end, which must all be refused; the seconds that each refusal took."""
    refused_after: list[float] = []

    async def read() -> None:
        while True:
            started = time.monotonic()
            found = await refusal(payer)
            assert isinstance(found, StandbyUnavailableError), found
            refused_after.append(time.monotonic() - started)
            await asyncio.sleep(0.01)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(read()) for _ in range(READERS)]
        yield refused_after
        for task in tasks:
            task.cancel()


@pytest.mark.parametrize("hangs", [False, True])
async def test_a_lost_standby_holds_nothing_up(own_pair: Pair, *, hangs: bool) -> None:
    """Payments do not wait for it here, so what delays them is a read of it."""
    own_pair.wait_for_no_standby()
    async with payer(own_pair.dsn) as one:
        posted = await one.pay("before")
        # Several connections lead to it.
        await asyncio.gather(*(of_standby(one, posted.position) for _ in range(READERS)))
        took: list[float] = []
        with ExitStack() as fault:
            if hangs:
                fault.enter_context(hanging(own_pair.standby))
            else:
                await asyncio.to_thread(own_pair.standby.kill)
            async with reading(one) as refused_after:
                until_time = time.monotonic() + LOST_SECONDS
                while time.monotonic() < until_time:
                    started = time.monotonic()
                    paid = await one.pay(f"meanwhile {len(took)}")
                    now = await one.ledger.balance(one.destination, strong=True)
                    assert (now.position, now.source) == (paid.position, "database")
                    took.append(time.monotonic() - started)
        assert max(took) < limits.STANDBY_READ_SECONDS_MAX, "nothing waits for the standby"
        assert len(refused_after) > READERS
        assert max(refused_after) < limits.STANDBY_SECONDS_MAX + LATE_SECONDS
        if not hangs:
            await asyncio.to_thread(own_pair.standby.start)

        async def answers() -> bool:
            return isinstance(await refusal(one), views.Balance)

        await until(answers, "the standby is found again")


async def test_another_connection_is_used_if_one_hangs(pair: Pair) -> None:
    """One process of the standby stands still, and the others answer."""
    async with payer(pair.dsn) as one:
        posted = await one.pay("first")
        await of_standby(one, posted.position)
        process = one_value(
            pair.standby_dsn,
            "SELECT pid FROM pg_stat_activity WHERE starts_with(application_name, 'tallystick standby reader')"
            " ORDER BY backend_start DESC LIMIT 1",
        )
        send_signal(process, signal.SIGSTOP)
        try:
            started = time.monotonic()
            assert (await of_standby(one)).source == "standby"
            assert limits.STANDBY_READ_SECONDS_MAX <= time.monotonic() - started < limits.STANDBY_SECONDS_MAX
            started = time.monotonic()
            assert (await of_standby(one)).source == "standby"
            assert time.monotonic() - started < limits.STANDBY_READ_SECONDS_MAX
        finally:
            send_signal(process, signal.SIGCONT)


async def test_a_standby_is_found_beside_a_server_that_hangs(pair: Pair, silent_port: int) -> None:
    folders = [(socket_folder(server), 5432) for server in (pair.primary, pair.standby)]
    found = standby.Standbys(with_servers(pair.standby_dsn, (HOST, silent_port), *folders))
    try:
        started = time.monotonic()
        await found.balances([])
        assert time.monotonic() - started < limits.STANDBY_CONNECT_SECONDS_MAX
    finally:
        await found.close()


async def test_a_lost_standby_keeps_the_primary_from_no_work(
    own_pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each search asks the primary, too, so there is a pause between two of them."""
    own_pair.wait_for_no_standby()
    searches = 0

    async def counted(dsn: str, **options: object) -> object:
        nonlocal searches
        searches += 1
        raise ConnectionRefusedError(f"{len(options)} options for {len(dsn)} characters")

    monkeypatch.setattr(standby, "connect_to_standby", counted)
    async with payer(own_pair.dsn) as one, reading(one) as refused_after:
        await asyncio.sleep(3 * limits.STANDBY_PAUSE_SECONDS)
    assert len(refused_after) > 2 * searches
    assert 2 <= searches <= 4


async def test_no_server_besides_the_primary_is_named(database: ShardDatabase) -> None:
    async with payer(database.server_dsn) as one:
        with pytest.raises(NoStandbyError, match="no standby of shard 1"):
            await of_standby(one)
        with pytest.raises(NoStandbyError):
            await one.ledger.balances([one.destination], standby=True)


async def test_an_address_that_asks_for_the_primary_leads_to_its_standby_too(pair: Pair) -> None:
    """As docs/operations has it. An account that the standby does not know is left out."""
    async with payer(make_conninfo(pair.dsn, target_session_attrs="read-write")) as one:
        posted = await one.pay("first")
        assert (await of_standby(one, posted.position)).source == "standby"
        unknown = format_identifier(Prefix.ACCOUNT, parse_identifier(Prefix.ACCOUNT, one.source) ^ 1)
        many = await one.ledger.balances([unknown], standby=True)
        assert (list(many.balances), list(many.not_found)) == ([], [unknown])
        with pytest.raises(AccountNotFoundError):
            await one.ledger.balance(unknown, standby=True)


async def test_parameters_that_a_standby_does_not_know(database: ShardDatabase) -> None:
    async with payer(database.server_dsn) as one:
        posted = await one.pay("first")
        at = posted.recorded_at
        with pytest.raises(ParameterError, match=r"^at: expected no time"):
            await one.ledger.balance(one.destination, standby=True, at=at)
        with pytest.raises(ParameterError, match=r"^effective_at: expected no time"):
            await one.ledger.balance(one.destination, standby=True, effective_at=at)
        with pytest.raises(ParameterError, match="only one of strong and standby"):
            await one.ledger.balance(one.destination, standby=True, strong=True)
        with pytest.raises(ParameterError, match="only one of strong and standby"):
            await one.ledger.balances([one.destination], standby=True, strong=True)


def test_over_http(own_pair: Pair, tmp_path: Path) -> None:
    own_pair.wait_for_no_standby()
    server = ApiServer(tmp_path, own_pair.database._replace(server_dsn=own_pair.dsn))
    try:
        server.start()
        with closing(Client(server)) as client:
            answered_over_http(own_pair, client)
    finally:
        server.stop()


def answered_over_http(pair: Pair, client: Client) -> None:
    source, destination = client.open_account("bank", "system"), client.open_account("alice")
    payment = {"source": source, "destination": destination, "amount": "5", "asset": "USD"}
    position = client.ask("POST", "/v1/transfers", payment, "one").document["position"]
    path = f"/v1/accounts/{destination}/balance?consistency=standby"
    many = {"accounts": [destination], "consistency": "standby", "min_positions": {destination: position}}

    (found,) = client.ask("POST", "/v1/balances", many).document["balances"]
    assert (found["balance"], found["source"]) == ("5", "standby")
    found = client.ask("GET", f"{path}&min_position={position}").document
    assert (found["balance"], found["position"], found["source"]) == ("5", position, "standby")

    behind = client.ask("GET", f"{path}&min_position={position + 100}")
    assert (behind.status, behind.document["code"]) == (409, "position_not_reached")
    assert behind.retry_after is not None
    assert "standby" in behind.document["detail"]

    pair.standby.kill()
    for answer in (client.ask("GET", path), client.ask("POST", "/v1/balances", many)):
        assert (answer.status, answer.document["code"]) == (503, "standby_unavailable")
        assert answer.retry_after is not None
        assert "leave `consistency` out" in answer.document["detail"]
    assert client.ask("GET", "/readyz?all").status == 200
    assert client.ask("GET", path.partition("?")[0]).document["source"] == "database"
    pair.standby.start()
    wait_for(lambda: client.ask("GET", path).status == 200, "the standby is found again")
