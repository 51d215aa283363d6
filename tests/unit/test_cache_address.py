"""Addresses of caches: what may be written, what is said when it is wrong, and that no password is ever shown."""

from pathlib import Path

import pytest

from tallystick.service.configuration import Configuration, NodeConfiguration, ShardConfiguration
from tallystick.store.cache.address import CacheAddress, Tls, read_cache_address


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("valkey://host", CacheAddress(kind="server", hosts=(("host", 6379),))),
        ("redis://[::1]:7/3", CacheAddress(kind="server", hosts=(("::1", 7),), database=3)),
        ("unix:///run/a%20b?db=2", CacheAddress(kind="server", socket_path="/run/a b", database=2)),
        ("unix://:pw@/run/a", CacheAddress(kind="server", socket_path="/run/a", password="pw")),
        (
            "redis://me:p%40%2Fss@host:1",
            CacheAddress(kind="server", hosts=(("host", 1),), user="me", password="p@/ss"),
        ),
        (
            "rediss://:a:b@host?ssl_check_hostname=no",
            CacheAddress(kind="server", hosts=(("host", 6379),), password="a:b", tls=Tls(check_host=False)),
        ),
        (
            "valkey+sentinel://me:pw@one,two:5/main/4?sentinel_username=s&sentinel_password=t%2Bu",
            CacheAddress(
                kind="sentinel",
                hosts=(("one", 26379), ("two", 5)),
                master="main",
                database=4,
                user="me",
                password="pw",
                sentinel_user="s",
                sentinel_password="t+u",
            ),
        ),
        (
            "valkeys+cluster://:pw@one:1,[::2]:2",
            CacheAddress(kind="cluster", hosts=(("one", 1), ("::2", 2)), password="pw", tls=Tls()),
        ),
        (
            "valkey+cluster://[2001:DB8::1],[::2]:2,Three",
            CacheAddress(kind="cluster", hosts=(("2001:db8::1", 6379), ("::2", 2), ("three", 6379))),
        ),
        (
            "valkey+sentinel://[::1]:1,[::2]/main",
            CacheAddress(kind="sentinel", hosts=(("::1", 1), ("::2", 26379)), master="main"),
        ),
    ],
)
def test_what_may_be_written(text: str, expected: CacheAddress) -> None:
    assert read_cache_address(text) == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is to be like"),
        ("host:6379", "is to be like"),
        ("postgresql://:SECRET@host", "is to be like"),
        ("valkey+raft://:SECRET@host", "is to be like"),
        ("unix+cluster:///path", "is to be like"),
        ("valkey://[:SECRET@host", "write % codes for [ and ]"),
        ("valkey://:SEC]RET@host", "write % codes for [ and ]"),
        ("valkey://[::1", "no host"),
        ("valkey://[::1]SECRET:2", "no host"),
        ("valkey://[::SECRET]", "no host"),
        ("valkey+cluster://[1.2.3.4]:2,[::2]", "no host"),
        ("unix://:SECRET@", "no path of a socket"),
        ("valkey://", "no host"),
        ("valkey://:SECRET@:6379", "no host"),
        ("valkey://host:0", "no port"),
        ("valkey://host:65536", "no port"),
        ("valkey://:SEC/RET@host", "no port that can be read"),
        ("valkey://:SEC#RET@host", "a # in it"),
        ("valkey://:SEC?RET=1@host", "not known"),
        ("valkey://host?SECRET=1", "not known"),
        ("valkey://one,two", "several hosts"),
        ("valkey://host/SECRET", "number of a database"),
        ("valkey://host/1/2", "too many parts"),
        ("valkey+sentinel://:SECRET@host", "names no master"),
        ("valkey+sentinel://host/main/x", "number of a database"),
        ("valkey+sentinel://host,/main", "no host"),
        ("valkey+cluster://host/1", "only 0"),
        ("valkey+cluster://host?db=1", "not known"),
        ("valkey://host?sentinel_password=SECRET", "not known"),
        ("valkey://host?ssl_ca_certs=/x", "not known"),
        ("valkeys://host?ssl_ca_certs=/SECRET", "ssl_ca_certs cannot be read"),
        ("valkeys://host?ssl_certfile=/etc/hostname", "go together"),
        ("valkeys://host?ssl_cert_reqs=perhaps", "required or none"),
        ("valkeys://host?ssl_check_hostname=perhaps", "yes or no"),
    ],
)
def test_what_is_wrong_is_said_without_a_password(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=r"^cache") as found:
        read_cache_address(text)
    assert says in str(found.value)
    assert "SEC" not in str(found.value)
    assert found.value.__cause__ is None


def test_no_password_is_shown(tmp_path: Path) -> None:
    text = "valkey+sentinel://me:SECRET@one/main?sentinel_password=SECRET"
    shard = ShardConfiguration(1, "postgresql://me:SECRET@host/db", "password=SECRET")
    configuration = Configuration([shard], [NodeConfiguration("north", [shard])], cache=text)
    for shown in (read_cache_address(text), configuration, shard):
        assert "SECRET" not in repr(shown) + str(shown)
    assert "main" in repr(configuration)
