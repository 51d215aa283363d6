"""A node is lost, and restored as the page says, word for word, while the shard of another node pays on."""

import json
import secrets
import shlex
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from tallystick.domain.identifiers import Prefix, parse_identifier, shard_of
from tallystick.embedded.postgres import EmbeddedPostgres
from tallystick.embedded.postgres_binaries import find_binaries
from tallystick.embedded.postgres_cluster import LOGIN_ROLE
from tallystick.embedded.server_account import account_for
from tests.crash.api_server import ApiServer, Client
from tests.crash.databases import (
    ShardDatabase,
    copy_database,
    one_value,
    shard_template,
    temporary_database,
    temporary_server,
)
from tests.data_folders import data_folder
from tests.restore.page import Operator, blocks
from tests.waiting import wait_for

LOST, OTHER = 1, 2
DATABASE: Final = "shard_1"
AMOUNT: Final = 10


class World(NamedTuple):
    """Two shards, each on a server of its own; an API server; and who backs up the first one."""

    node: EmbeddedPostgres
    operator: Operator
    server: ApiServer
    client: Client
    databases: Mapping[int, ShardDatabase]
    banks: Mapping[int, str]
    people: Mapping[int, str]

    def pay(self, payer: str, payee: str, key: str | None = None) -> dict[str, Any]:
        document = {"source": payer, "destination": payee, "amount": str(AMOUNT), "asset": "USD"}
        answer = self.client.ask("POST", "/v1/transfers", document, key or secrets.token_hex(8))
        assert answer.status == 201, answer
        assert answer.document["state"] == "posted"
        return dict(answer.document)

    def balance(self, account: str) -> int:
        return int(self.client.ask("GET", f"/v1/accounts/{account}").document["balance"])

    def command(self, words: str) -> dict[str, Any]:
        """The command of the product in the block with these words; its answer."""
        program, *arguments = shlex.split(self.operator.follow(words))
        assert program == "tallystick"
        done = self.server.command(*arguments, "--json")
        assert done.returncode == 0, (done.stdout, done.stderr)
        return dict(json.loads(done.stdout))

    def archived(self) -> None:
        """Wait until the archive has what the node has written."""
        with psycopg.connect(self.node.dsn(), autocommit=True) as connection:
            (written,) = connection.execute("SELECT pg_current_wal_flush_lsn()").fetchone() or ()
        behind = f"SELECT count(*) FROM pg_replication_slots WHERE restart_lsn < '{written}'"
        wait_for(lambda: not one_value(self.node.dsn(), behind), "the archive is complete")


@pytest.fixture
def world(postgres: EmbeddedPostgres, tmp_path: Path) -> Iterator[World]:
    with node() as (server, operator), temporary_database(postgres, number=OTHER) as other:
        databases = {
            LOST: ShardDatabase(server.dsn(DATABASE), server.dsn(DATABASE, role=LOGIN_ROLE)),
            OTHER: other,
        }
        api = ApiServer(tmp_path, *databases.values())
        api.start()
        client = Client(api)
        try:
            banks = {number: opened_on(client, number, "system") for number in databases}
            people = {number: opened_on(client, number, "wallet") for number in databases}
            yield World(server, operator, api, client, databases, banks, people)
        finally:
            client.close()
            api.stop()


def opened_on(client: Client, shard: int, kind: str) -> str:
    """A new account on a shard: owners are drawn until one lives there."""
    while True:
        document = {"owner": secrets.token_hex(4), "asset": "USD", "kind": kind}
        account = str(client.ask("POST", "/v1/accounts", document, secrets.token_hex(8)).document["id"])
        if shard_of(parse_identifier(Prefix.ACCOUNT, account)) == shard:
            return account


@contextmanager
def node() -> Iterator[tuple[EmbeddedPostgres, Operator]]:
    """The node that will be lost, with an empty shard 1, and who follows the page for it."""
    settings = {"summarize_wal": "on", "max_wal_senders": "10", "max_connections": "100"}
    with data_folder(durable=False) as folder, temporary_server(settings=settings) as server:
        copy_database(server, DATABASE, shard_template(server))
        account = account_for(server.cluster_path)
        own = folder / "operator"
        own.mkdir()
        account.give(own)
        sockets = conninfo_to_dict(server.dsn())
        names = {
            "BACKUPS": str(own / "backups"),
            "RESTORED": str(own / "restored"),
            "LOGIN": LOGIN_ROLE,
            "MOMENT": "",
            "PROGRAMS": str(find_binaries(account).program("pg_ctl").parent),
            "PGHOST": str(sockets["host"]),
            "PGUSER": str(sockets["user"]),
            "PGPASSWORD": str(sockets["password"]),
            "PGDATABASE": "postgres",
        }
        operator = Operator(account, own, names)
        try:
            yield server, operator
        finally:
            operator.end_all()


def back_up(world: World) -> None:
    """What the page says to do before anything happens."""
    operator = world.operator
    operator.run("--create-slot")
    operator.begin("exec pg_receivewal")
    operator.run('ln -sfn "$full"')
    world.pay(world.banks[LOST], world.people[LOST])
    operator.run('ln -sfn "$incremental"')


def restore(world: World) -> dict[str, Any]:
    """The steps of the page, one by one. The names of step 2 are those of this world."""
    operator = world.operator
    operator.run("pg_combinebackup")
    operator.run("recovery.signal")
    operator.run("pg_is_in_recovery")
    done = world.command("tallystick restored")
    operator.run('pg_ctl --pgdata="$RESTORED" reload')
    world.server.wait_until_ready()
    return done


def lose(world: World) -> None:
    """The machine of the node is gone, with its disk."""
    world.node.kill()
    shutil.rmtree(world.node.cluster_path)
    world.operator.end_all()


def test_a_lost_disk_loses_nothing(world: World) -> None:
    """The archive has everything that was written: all payments are there, those that crossed too."""
    back_up(world)
    key = secrets.token_hex(8)
    paid = world.pay(world.banks[LOST], world.people[LOST], key)
    world.pay(world.banks[LOST], world.people[OTHER])
    world.pay(world.banks[OTHER], world.people[LOST])
    world.archived()
    lose(world)
    world.pay(world.banks[OTHER], world.people[OTHER])
    done = restore(world)
    assert world.command("tallystick verify")["ok"]
    assert world.pay(world.banks[LOST], world.people[LOST], key) == paid
    assert world.balance(world.people[LOST]) == 3 * AMOUNT
    assert world.balance(world.people[OTHER]) == 2 * AMOUNT
    after = world.pay(world.banks[LOST], world.people[LOST])
    assert after["position"] == done["lost_through"] + 1
    world.operator.names["BACKUPS"] += "-b"
    back_up(world)
    assert world.operator.followed == {text for text in blocks() if not text.startswith("export ")}


def test_an_earlier_moment(world: World) -> None:
    """What came after it is lost on this shard; the other one knows of some of it, and verify names that."""
    back_up(world)
    world.pay(world.banks[LOST], world.people[LOST])
    world.operator.names["MOMENT"] = datetime.now(UTC).isoformat(sep=" ")
    key = secrets.token_hex(8)
    lost = [world.pay(world.banks[LOST], world.people[LOST], key)]
    crossing_key = secrets.token_hex(8)
    lost.append(world.pay(world.banks[LOST], world.people[OTHER], crossing_key))
    sent = [world.pay(world.banks[OTHER], world.people[LOST]) for _ in range(2)]
    told = max(payment["position"] for payment in lost)
    world.archived()
    lose(world)
    done = restore(world)
    assert done["lost_after"] < told < done["lost_through"]
    assert [world.client.ask("GET", f"/v1/transactions/{payment['id']}").status for payment in lost] == [
        404,
        404,
    ]
    assert world.balance(world.people[LOST]) == 2 * AMOUNT
    found = world.command("tallystick verify")
    assert [shard["ok"] for shard in found["shards"]] == [True, True]
    assert found["shards"][0]["restorations"][0]["lost_first"] == done["lost_after"] + 1
    across = found["across"]
    assert across["ok"]
    assert {(one["saga"], one["lost_on"], one["to"]) for one in across["lost_before_restores"]["listed"]} == {
        (lost[1]["id"], LOST, OTHER),
        (sent[0]["id"], LOST, LOST),
        (sent[1]["id"], LOST, LOST),
    }
    (pair,) = across["pairs"]
    assert (pair["difference"], pair["unexplained"]) == (str(AMOUNT), "0")
    # The same request with the same key pays again, once, at a position that no client was told of.
    again = [world.pay(world.banks[LOST], world.people[LOST], key) for _ in range(2)]
    assert again[0] == again[1]
    assert again[0]["position"] > done["lost_through"]
    # One that was credited on the other shard pays its payee a second time.
    assert world.balance(world.people[OTHER]) == AMOUNT
    world.pay(world.banks[LOST], world.people[OTHER], crossing_key)
    assert world.balance(world.people[OTHER]) == 2 * AMOUNT
    assert world.command("tallystick verify")["ok"]
