"""Owners stay where they are while shards are added, filled and lost, whoever serves them meanwhile."""

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

import psycopg
import pytest
from tests import engines
from tests.crash.databases import ShardDatabase, find_again, lose, one_value, temporary_shards
from tests.waiting import wait_for

from tallystick import Ledger, OwnerPlacementError, ParameterError, RefusalCode, Refused, UnavailableError
from tallystick.domain.identifiers import Prefix, parse_identifier, shard_of
from tallystick.embedded.postgres import EmbeddedPostgres
from tallystick.ledger.placement import NOTHING_PLACED, following
from tallystick.service.configuration import Configuration, ConfigurationError, ShardConfiguration, ShardState
from tallystick.service.engine import Engine
from tallystick.service.migration import check_shards, migrate_shard, unite_shards
from tallystick.store.errors import SchemaError

TENANT = 1
OWNERS_TRIED_MAX = 1_000
WAITING_FOR_A_LOCK = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'"
)
ALL = (1, 2, 3)


class Shards(NamedTuple):
    """Databases of shards, made anew for each test."""

    databases: dict[int, ShardDatabase]

    def configuration(self, *numbers: int, **states: ShardState) -> Configuration:
        """A configuration of these shards, all open but for those that `states` names: `_2="full"`."""
        return Configuration(
            [
                ShardConfiguration(
                    number,
                    self.databases[number].server_dsn,
                    self.databases[number].owner_dsn,
                    states.get(f"_{number}", "open"),
                )
                for number in numbers
            ]
        )


@pytest.fixture
def shards(postgres: EmbeddedPostgres) -> Iterator[Shards]:
    with temporary_shards(postgres, ALL) as databases:
        yield Shards(databases)


def apply(configuration: Configuration) -> None:
    """What `tallystick migrate` does."""
    for shard in configuration.shards:
        migrate_shard(shard.number, shard.owner)
    unite_shards(configuration)


@asynccontextmanager
async def serving(configuration: Configuration) -> AsyncIterator[Engine]:
    async with engines.running(Engine.of(configuration, recover=False)) as engine:
        yield engine


async def open_account(engine: Engine, owner: str, asset: str = "USD") -> int:
    """Open an account and tell its shard."""
    opened = await Ledger(engine, TENANT).open_account(owner, asset)
    assert not isinstance(opened, Refused)
    return shard_of(parse_identifier(Prefix.ACCOUNT, opened.id))


async def open_accounts(engine: Engine, owners: Sequence[str], asset: str = "USD") -> dict[str, int]:
    found = await asyncio.gather(*(open_account(engine, owner, asset) for owner in owners))
    return dict(zip(owners, found, strict=True))


async def listed(engine: Engine, owner: str) -> list[int]:
    page = await Ledger(engine, TENANT).accounts(owner)
    return [shard_of(parse_identifier(Prefix.ACCOUNT, account.id)) for account in page.items]


def names(word: str, count: int = 60) -> list[str]:
    return [f"{word} {number}" for number in range(count)]


async def test_adding_and_filling_shards_moves_nobody(shards: Shards) -> None:
    early, late, last = names("early"), names("late"), names("last")
    apply(two := shards.configuration(1, 2))
    async with serving(two) as engine:
        homes = await open_accounts(engine, early)
        assert set(homes.values()) == {1, 2}
    apply(three := shards.configuration(1, 2, 3))
    async with serving(three) as engine:
        assert await open_accounts(engine, early, "EUR") == homes
        homes |= await open_accounts(engine, late)
        assert set(Counter(homes[owner] for owner in late)) == {1, 2, 3}
        # It runs on while a shard is filled, and learns of it by itself.
        apply(shards.configuration(1, 2, 3, _2="full", _3="draining"))
        homes |= await open_accounts(engine, last)
        assert {homes[owner] for owner in last} == {1}
        assert await open_accounts(engine, [*early, *late], "JPY") == {
            owner: homes[owner] for owner in (*early, *late)
        }
        for owner in (early[0], late[0], last[0]):
            assert set(await listed(engine, owner)) == {homes[owner]}
        assert await listed(engine, "nobody") == []


async def test_shards_that_were_served_before_a_placement_was_recorded_keep_their_owners(
    shards: Shards,
) -> None:
    owners = names("early")
    async with serving(shards.configuration(1)) as engine:
        assert set((await open_accounts(engine, owners)).values()) == {1}
    apply(two := shards.configuration(1, 2))
    async with serving(two) as engine:
        assert set((await open_accounts(engine, owners, "EUR")).values()) == {1}
        assert set((await open_accounts(engine, names("late"))).values()) == {1, 2}


@pytest.mark.slow
async def test_two_servers_give_no_owner_two_homes_while_a_shard_is_added(shards: Shards) -> None:
    apply(two := shards.configuration(1, 2))
    three = shards.configuration(1, 2, 3)
    # One server has the old file and keeps it, the other one serves the new shard already.
    async with serving(two) as old, serving(two) as new:
        await new.add_shard(3, three.dsns[3])
        migrated = asyncio.Event()

        async def open_on_both(owner: str) -> int:
            """How many of the two accounts could be opened; at the same moment, again and again."""
            done = await asyncio.gather(
                open_account(old, owner, "USD"), open_account(new, owner, "EUR"), return_exceptions=True
            )
            for one in done:
                if isinstance(one, BaseException) and not isinstance(one, UnavailableError):
                    raise one
            homes = {one for one in done if isinstance(one, int)}
            assert len(homes) <= 1, f"{owner} lives on shards {homes}"
            return sum(isinstance(one, int) for one in done)

        async def open_on_and_on(worker: int) -> Counter[int]:
            opened: Counter[int] = Counter()
            for number in itertools.count():
                before = migrated.is_set()
                opened[await open_on_both(f"owner {worker} {number}")] += 1
                # Of any ten owners some live on the new shard, but for very few tens.
                if before and number % 10 == 9 and (opened[1] or number > OWNERS_TRIED_MAX):
                    return opened
            raise AssertionError

        async def migrate_meanwhile() -> None:
            await asyncio.sleep(0.3)
            await asyncio.to_thread(apply, three)
            await asyncio.sleep(0.3)
            migrated.set()

        *counts, _ = await asyncio.gather(
            *(open_on_and_on(worker) for worker in range(8)), migrate_meanwhile()
        )
        total = sum((count for count in counts if count is not None), Counter())
        # Owners of the new shard are refused by the server that does not know it, and by it alone.
        assert total[2] > total[1] > 0
        for worker in range(8):
            for number in range(10):
                assert len({*await listed(new, f"owner {worker} {number}")}) == 1


async def test_a_placement_waits_for_openings_that_are_on_their_way(shards: Shards) -> None:
    apply(two := shards.configuration(1, 2))
    three = shards.configuration(1, 2, 3)
    async with serving(two) as old, serving(two) as new:
        await new.add_shard(3, three.dsns[3])
        before = old.router.placement
        after = following({1: before, 2: before, 3: NOTHING_PLACED}, (), (1, 2, 3))
        owner = next(
            owner
            for owner in names("moving")
            if before.choice(TENANT, owner) == 1 and after.choice(TENANT, owner) == 3
        )
        with psycopg.connect(shards.databases[1].owner_dsn) as connection:
            # Whoever holds the lock of a shard keeps its batches waiting.
            connection.execute("SELECT pg_advisory_xact_lock((x'7a11'::bigint << 32) | 1)")
            opening = asyncio.create_task(open_account(old, owner))
            await asyncio.to_thread(
                wait_for,
                lambda: one_value(shards.databases[1].owner_dsn, WAITING_FOR_A_LOCK) == 1,
                "it is on its way",
            )
            migrating = asyncio.create_task(asyncio.to_thread(apply, three))
            second = asyncio.create_task(open_account(new, owner, "EUR"))
            await asyncio.sleep(0.7)
            assert not opening.done()
            assert not migrating.done()
            assert not second.done()
        await migrating
        assert (await opening, await second) == (1, 1)
        assert await open_account(new, owner, "JPY") == 1


@pytest.mark.slow
async def test_an_owner_is_refused_rather_than_given_a_second_home(shards: Shards) -> None:
    owners = names("early")
    apply(shards.configuration(1, 2))
    async with serving(shards.configuration(1, 2)) as engine:
        homes = await open_accounts(engine, owners)
    apply(three := shards.configuration(1, 2, 3))
    async with serving(three) as engine:
        lose(shards.databases[1])
        for owner in owners:
            if homes[owner] == 1:
                with pytest.raises(UnavailableError):
                    await open_account(engine, owner, "EUR")
                with pytest.raises(UnavailableError):
                    await listed(engine, owner)
            else:
                assert await open_account(engine, owner, "EUR") == 2
                assert await listed(engine, owner) == [2, 2]
        placement = engine.router.placement
        for owner in names("new"):
            if 1 in placement.candidates(TENANT, owner):
                with pytest.raises(UnavailableError):
                    await open_account(engine, owner)
            else:
                assert await open_account(engine, owner) == placement.choice(TENANT, owner)
        find_again(shards.databases[1])


async def test_a_shard_that_is_missing_or_was_not_migrated_is_not_served(shards: Shards) -> None:
    apply(shards.configuration(1, 2))
    with pytest.raises(ConfigurationError, match="shard 2 is missing: accounts live on it"):
        check_shards(shards.configuration(1))
    with pytest.raises(ConfigurationError, match="shard 2 is missing"):
        apply(shards.configuration(1, 3))
    with pytest.raises(ConfigurationError, match=r"shard 3 was added: run `tallystick migrate`"):
        check_shards(shards.configuration(1, 2, 3))
    swapped = shards.configuration(1, 2)
    exchanged = Configuration(
        [ShardConfiguration(1, swapped.dsns[2]), ShardConfiguration(2, swapped.dsns[1])]
    )
    with pytest.raises(SchemaError, match="configured for shard 1 is that of shard 2"):
        check_shards(exchanged)
    assert check_shards(shards.configuration(1, 2)) == {}


async def test_a_mixture_of_schemas_is_not_served(shards: Shards) -> None:
    apply(two := shards.configuration(1, 2))
    with psycopg.connect(shards.databases[2].owner_dsn, autocommit=True) as connection:
        connection.execute("DELETE FROM _yoyo_migration WHERE migration_id = '0002.directory'")
    with pytest.raises(SchemaError, match=r"lacks 0002.directory: run `tallystick migrate`"):
        check_shards(two)
    with psycopg.connect(shards.databases[1].owner_dsn, autocommit=True) as connection:
        connection.execute(
            "UPDATE _yoyo_migration SET migration_id = '9999.later' WHERE migration_id = '0002.directory'"
        )
    with pytest.raises(SchemaError):
        check_shards(two)


async def test_a_later_schema_is_not_migrated_and_is_served_until_it_takes_something_away(
    shards: Shards,
) -> None:
    """What an earlier version says, where `migrate` of a later one has run: its first half only adds."""
    apply(two := shards.configuration(1, 2))

    def migrate_by_later_version(name: str) -> None:
        with psycopg.connect(shards.databases[1].owner_dsn, autocommit=True) as connection:
            connection.execute(
                "INSERT INTO _yoyo_migration SELECT (jsonb_populate_record(one, jsonb_build_object("
                "'migration_id', %s::text, 'migration_hash', %s::text))).* FROM _yoyo_migration AS one LIMIT 1",
                [name, name],
            )

    migrate_by_later_version("9998.later")
    assert check_shards(two) == {}
    with pytest.raises(SchemaError, match=r"has 9998.later of a newer version: upgrade tallystick"):
        apply(two)
    migrate_by_later_version("9999.later.after")
    for refuse in (check_shards, apply):
        with pytest.raises(SchemaError, match="of a newer version: upgrade tallystick"):
            refuse(two)


async def test_a_database_that_is_missing_is_said(shards: Shards, postgres: EmbeddedPostgres) -> None:
    missing = Configuration([*shards.configuration(1).shard, ShardConfiguration(2, postgres.dsn("nowhere"))])
    with pytest.raises(SchemaError, match="the database is missing"):
        check_shards(missing)
    with pytest.raises(SchemaError, match="the database is missing"):
        apply(missing)


# Beside another.


async def open_near(engine: Engine, owner: str, near: str, asset: str = "USD") -> int:
    opened = await Ledger(engine, TENANT).open_account(owner, asset, near=near)
    assert not isinstance(opened, Refused), opened
    return opened.shard


@pytest.mark.slow
async def test_an_owner_is_placed_beside_another_and_found_there(shards: Shards) -> None:
    configuration = shards.configuration(1, 2)
    apply(configuration)
    async with serving(configuration) as engine, serving(configuration) as other:
        host = "host"
        home = await open_account(engine, host)
        opened = await Ledger(engine, TENANT).open_account(host, "EUR")
        assert not isinstance(opened, Refused)
        for owner in names("guest"):
            # By the name of an owner, and by an account.
            assert await open_near(engine, owner, host) == home
            assert await open_account(other, owner, "EUR") == home
            assert await open_near(other, owner, opened.id, "JPY") == home
            assert await listed(other, owner) == [home] * 3
    # A shard that is added moves none of them.
    wider = shards.configuration(1, 2, 3)
    apply(wider)
    async with serving(wider) as engine:
        for owner in names("guest"):
            assert await open_account(engine, owner, "GBP") == home
            assert await listed(engine, owner) == [home] * 4


async def test_an_owner_who_lives_elsewhere_is_not_moved(shards: Shards) -> None:
    configuration = shards.configuration(1, 2, _2="full")
    apply(shards.configuration(1, 2))
    async with serving(shards.configuration(1, 2)) as engine:
        homes = await open_accounts(engine, names("owner"))
        first, second = (next(owner for owner in homes if homes[owner] == home) for home in (1, 2))
        with pytest.raises(OwnerPlacementError, match="has accounts on shard 1, and not on shard 2"):
            await open_near(engine, first, second, "EUR")
        assert await listed(engine, first) == [1]
        unknown = await Ledger(engine, TENANT).open_account("guest", "USD", near="nobody")
        assert isinstance(unknown, Refused)
        assert (unknown.code, unknown.param) == (RefusalCode.ACCOUNT_NOT_FOUND, "near")
        with pytest.raises(ParameterError):
            await open_near(engine, "guest", "@fees")
    apply(configuration)
    async with serving(configuration) as engine:
        with pytest.raises(OwnerPlacementError, match="shard 2 takes no new owners"):
            await open_near(engine, "guest", second)
        assert await open_near(engine, second, second, "EUR") == 2


@pytest.mark.slow
async def test_no_owner_gets_two_homes_who_is_placed_beside_two_at_once(shards: Shards) -> None:
    """Three servers open the first accounts of the same owners: as the placement says, and beside either of two."""
    configuration = shards.configuration(1, 2)
    apply(configuration)
    async with (
        serving(configuration) as one,
        serving(configuration) as two,
        serving(configuration) as three,
    ):
        homes = await open_accounts(one, names("host"))
        hosts = [next(owner for owner in homes if homes[owner] == home) for home in (1, 2)]

        async def opened(engine: Engine, owner: str, near: str | None) -> int | None:
            try:
                return await (open_account(engine, owner) if near is None else open_near(engine, owner, near))
            except OwnerPlacementError:
                return None

        for owner in names("guest", 40):
            found = await asyncio.gather(
                opened(one, owner, None), opened(two, owner, hosts[0]), opened(three, owner, hosts[1])
            )
            assert len({home for home in found if home is not None}) == 1, (owner, found)
            assert set(await listed(one, owner)) == {home for home in found if home is not None}


async def test_the_same_key_opens_the_same_account_beside_another(shards: Shards) -> None:
    configuration = shards.configuration(1, 2)
    apply(configuration)
    async with serving(configuration) as engine:
        homes = await open_accounts(engine, names("host"))
        ledger = Ledger(engine, TENANT)
        for home in (1, 2):
            host = next(owner for owner in homes if homes[owner] == home)
            key = f"guest of {home}"
            first = await ledger.open_account(key, "USD", near=host, idempotency_key=key)
            assert await ledger.open_account(key, "USD", near=host, idempotency_key=key) == first
            other = await ledger.open_account(key, "USD", idempotency_key=key)
            assert isinstance(other, Refused)
            assert (other.code, other.param) == (RefusalCode.IDEMPOTENCY_KEY_REUSED, "near")
