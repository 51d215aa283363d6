"""`tallystick up` with several nodes: shards are added, a node dies and comes back, older folders go on."""

import os
import signal
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tallystick.domain.identifiers import Prefix, parse_identifier, shard_of
from tallystick.service.configuration import Configuration, read_configuration, write_configuration
from tests.acceptance.processes import Up, call, free_port, run, servers
from tests.waiting import wait_for


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "data"
    yield folder
    for server in servers(folder):
        server.remove()


def shard(account: str) -> int:
    return shard_of(parse_identifier(Prefix.ACCOUNT, account))


def transfer(ready: dict[str, Any], source: str, destination: str, key: str) -> int:
    body = {"source": source, "destination": destination, "amount": "1", "asset": "USD"}
    return call(ready, "POST", "/v1/transfers", body, key=key)[0]


def open_accounts(ready: dict[str, Any], word: str, count: int = 20) -> dict[str, str]:
    """Open accounts of new owners, by owner."""
    opened = {}
    for number in range(count):
        owner = f"{word} {number}"
        status, account = call(ready, "POST", "/v1/accounts", {"owner": owner, "asset": "USD"})
        assert status == 201, account
        opened[owner] = account["id"]
    return opened


def states(ready: dict[str, Any]) -> dict[int, bool]:
    _, health = call(ready, "GET", "/readyz")
    return {one["shard"]: one["available"] for one in health["shards"]}


def test_two_shards_on_two_nodes_and_more_at_a_later_start(data: Path, port: int) -> None:
    with Up(data, port, "--json") as up:
        first = up.ready()
        accounts = first["accounts"]
        assert shard(accounts["alice"]) == shard(accounts["bob"]) != shard(accounts["carol"])
        assert len(servers(data)) == 2
        assert states(first) == {1: True, 2: True}
        homes = open_accounts(first, "early")
        assert {shard(account) for account in homes.values()} == {1, 2}
        assert up.end() == 0
    with Up(data, port, "--json", "--shards", "4", "--nodes", "3") as up:
        second = up.ready()
        assert second["accounts"] == accounts
        assert len(servers(data)) == 3
        assert set(states(second)) == {1, 2, 3, 4}
        for owner, account in homes.items():
            status, page = call(second, "GET", f"/v1/accounts?owner={owner.replace(' ', '%20')}")
            assert (status, [one["id"] for one in page["items"]]) == (200, [account])
        assert {shard(account) for account in open_accounts(second, "late", 40).values()} == {1, 2, 3, 4}
        assert up.end() == 0
    for options, words in (
        (("--shards", "3"), "there are 4 shards already"),
        (("--nodes", "2"), "there are 3 nodes already"),
    ):
        refused = run("up", "--data", str(data), "--port", str(port), *options)
        assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
        assert words in refused.stderr
    with Up(data, port, "--json") as up:
        assert set(states(up.ready())) == {1, 2, 3, 4}
        assert up.end() == 0


def test_a_node_that_dies_comes_back_and_the_other_pays_on(data: Path, port: int) -> None:
    with Up(data, port, "--json") as up:
        ready = up.ready()
        alice, bob, carol = (ready["accounts"][name] for name in ("alice", "bob", "carol"))
        home = shard(alice)
        (server,) = [one for one in servers(data) if one.log_path.parent.name == f"postgres_{3 - home}"]
        before = server.pid
        assert before is not None
        os.kill(before, signal.SIGKILL)
        for number in range(20):
            assert transfer(ready, alice, bob, f"while it is away {number}") == 201
            assert call(ready, "GET", f"/v1/accounts/{alice}/balance")[0] == 200
        up.wait_until_said(f"PostgreSQL in postgres_{3 - home} ended by itself: the others go on")
        up.wait_until_said(f"PostgreSQL in postgres_{3 - home} runs again")
        assert server.pid not in {None, before}
        wait_for(lambda: call(ready, "GET", f"/v1/accounts/{carol}")[0] == 200, "its shard is read again")
        wait_for(lambda: states(ready)[3 - home], "its shard is written to again")
        assert up.end() == 0
        assert "Traceback" not in up.stderr.decode()
    assert not any(one.running() for one in servers(data))


def test_a_data_folder_of_before_goes_on_with_its_one_shard_and_grows(data: Path, port: int) -> None:
    with Up(data, port, "--json", "--shards", "1", "--nodes", "1") as up:
        first = up.ready()
        assert up.end() == 0
    # As it was before there were nodes.
    (data / "postgres_1").rename(data / "postgres")
    configuration = read_configuration(data / "tallystick.toml")
    write_configuration(data / "tallystick.toml", Configuration(configuration.shards))
    with Up(data, port, "--json") as up:
        again = up.ready()
        # Its folder was renamed, and cache and metrics have what was free.
        other = {"pid": 0, "cache": "", "databases": [], "metrics": ""}
        assert {**again, **other} == {**first, **other}
        assert set(states(again)) == {1}
        assert up.end() == 0
    with Up(data, port, "--json", "--shards", "2", "--nodes", "2") as up:
        grown = up.ready()
        assert grown["accounts"]["alice"] == first["accounts"]["alice"]
        assert call(grown, "GET", f"/v1/accounts/{grown['accounts']['alice']}")[0] == 200
        assert set(states(grown)) == {1, 2}
        assert up.end() == 0
    written = tomllib.loads((data / "tallystick.toml").read_text())
    assert [node["name"] for node in written["node"]] == ["postgres", "postgres_2"]


def test_what_was_set_in_the_file_stays_set(data: Path, port: int) -> None:
    with Up(data, port, "--json") as up:
        up.ready()
        assert up.end() == 0
    path = data / "tallystick.toml"
    text = path.read_text().replace("number = 2\n", 'number = 2\nstate = "full"\n')
    path.write_text(f"saga_wait_seconds = 2.5\n{text}")
    with Up(data, port, "--json") as up:
        ready = up.ready()
        assert {shard(account) for account in open_accounts(ready, "new").values()} == {1}
        assert up.end() == 0
    configuration = read_configuration(path)
    assert (configuration.open_shards, configuration.saga_wait_seconds) == ([1], 2.5)
