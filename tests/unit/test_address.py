"""Connection strings with one server or several: what they say, and which of them say the same."""

from typing import Final

import pytest
from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from tallystick.domain import limits
from tallystick.store.address import (
    connect_seconds,
    database_places,
    database_uri,
    flaw_of,
    is_same_address,
    servers_of,
    standbys_of,
)

SECRET: Final = "do-not-show"


@pytest.mark.parametrize(
    ("dsn", "servers"),
    [
        ("host=a,b,c dbname=d", [("a", None), ("b", None), ("c", None)]),
        ("host=a,b port=1 dbname=d", [("a", "1"), ("b", "1")]),
        ("host=a,b,a port=1 dbname=d", [("a", "1"), ("b", "1")]),
        ("host=a,a dbname=d", [("a", None)]),
        ("host=a,b port=1,2 dbname=d", [("a", "1"), ("b", "2")]),
        ("postgresql://u:p@a:1,b:2/d?sslmode=disable", [("a", "1"), ("b", "2")]),
        ("postgresql:///d?host=/run/a,/run/b&port=1,2", [("/run/a", "1"), ("/run/b", "2")]),
    ],
)
def test_each_server_has_an_address(dsn: str, servers: list[tuple[str, str | None]]) -> None:
    parts = [conninfo_to_dict(server) for server in servers_of(dsn)]
    assert [(part["host"], part.get("port")) for part in parts] == servers
    assert {part["dbname"] for part in parts} == {"d"}
    assert {part["target_session_attrs"] for part in parts} == {"read-write"}


@pytest.mark.parametrize("asked", ["any", "standby", "prefer-standby", "read-only", "read-write"])
def test_of_several_servers_one_that_can_be_written_to_is_wanted(asked: str) -> None:
    first, _ = servers_of(f"host=a,b target_session_attrs={asked}")
    assert "target_session_attrs=read-write" in first


def test_a_primary_may_be_wanted_instead() -> None:
    assert all("attrs=primary" in one for one in servers_of("host=a,b target_session_attrs=primary"))


@pytest.mark.parametrize("asked", ["any", "primary", "read-write"])
def test_each_of_several_servers_may_be_a_standby(asked: str) -> None:
    parts = [conninfo_to_dict(one) for one in standbys_of(f"host=a,b port=1,2 target_session_attrs={asked}")]
    assert [(part["host"], part["port"]) for part in parts] == [("a", "1"), ("b", "2")]
    assert {part["target_session_attrs"] for part in parts} == {"standby"}


@pytest.mark.parametrize("dsn", ["dbname=d", "host=a port=1 dbname=d", "postgresql://a:1/d"])
def test_one_server_is_asked_as_it_is_named(dsn: str) -> None:
    assert servers_of(dsn) == [dsn]


@pytest.mark.parametrize("dsn", ["dbname=d", "host=a port=1 dbname=d", "host=a,a port=1 dbname=d"])
def test_the_only_server_is_no_standby(dsn: str) -> None:
    assert standbys_of(dsn) == []


@pytest.mark.parametrize(
    ("dsn", "flaw"),
    [
        (SECRET, "is no libpq connection string"),
        (f"host=a,b port=1,2,3 dbname=d password={SECRET}", "one port for all hosts"),
        ("host=a hostaddr=192.0.2.1,192.0.2.2 port=1,2,3 dbname=d", "one port for all hosts"),
        (f"dbname=d connect_timeout={SECRET}", "connect_timeout that is no whole number of seconds"),
        ("dbname=d connect_timeout=0.5", "connect_timeout that is no whole number of seconds"),
        (f"host=a user=u password={SECRET}", "names no database: add dbname"),
    ],
)
def test_what_cannot_be_used_is_named_and_not_shown(dsn: str, flaw: str) -> None:
    found = flaw_of(dsn)
    assert found is not None
    assert flaw in found
    assert SECRET not in found


@pytest.mark.parametrize("dsn", ["dbname=d", "host=a,b port=1 dbname=d connect_timeout=5", "service=s"])
def test_what_can_be_used(dsn: str) -> None:
    assert flaw_of(dsn) is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("host=a,b port=1,2 dbname=d", "host=b,a port=2,1 dbname=d"),
        ("host=a,b port=1,2 dbname=d", "postgresql://b:2,a:1/d"),
        ("host=a,b port=1 dbname=d", "dbname=d port=1,1 host=b,a"),
    ],
)
def test_the_order_of_servers_has_no_meaning(one: str, other: str) -> None:
    assert is_same_address(one, other)
    assert database_places(one) == database_places(other)


@pytest.mark.parametrize(
    "other",
    [
        "host=a,b port=2,1 dbname=d",
        "host=a,c port=1,2 dbname=d",
        "host=a,b port=1,2 dbname=e",
        "host=a,b port=1,2 dbname=d user=u",
        "host=a,b,c port=1,2,3 dbname=d",
    ],
)
def test_another_address(other: str) -> None:
    assert not is_same_address("host=a,b port=1,2 dbname=d", other)


def test_two_addresses_of_one_database_have_a_server_in_common() -> None:
    places = database_places("host=a,b dbname=d")
    assert places & database_places("host=c,b dbname=d user=u")
    assert not places & database_places("host=c,d dbname=d")
    assert not places & database_places("host=a,b dbname=e")


@pytest.mark.parametrize(("asked", "seconds"), [("2", 2), ("0", None), ("-1", None), ("60", None)])
def test_a_time_limit(asked: str, seconds: int | None) -> None:
    dsn = f"dbname=d connect_timeout={asked}"
    assert connect_seconds(dsn) == (seconds or limits.CONNECT_TIMEOUT_SECONDS)
    # The driver would pass what it does not know to PostgreSQL, which would refuse it.
    assert "connect_timeout" not in database_uri(dsn)


def test_a_time_limit_that_is_none() -> None:
    with pytest.raises(ProgrammingError, match="connect_timeout is a number of seconds, not 'soon'"):
        connect_seconds("dbname=d connect_timeout=soon")
