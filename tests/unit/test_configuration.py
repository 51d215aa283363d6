"""The configuration file: what it may say, and what is said when it is wrong."""

from pathlib import Path

import pytest

from tallystick.service.configuration import (
    Configuration,
    ConfigurationError,
    NodeConfiguration,
    ShardConfiguration,
    configuration_of,
    read_configuration,
    read_owner_configuration,
    write_configuration,
)
from tallystick.service.migration import risks_of_serving

NODES = """
cross_shard = "two_phase"
saga_wait_seconds = 2

[[node]]
name = "north"

[[node.shard]]
number = 1
dsn = "host=north dbname=shard_1"
owner_dsn = "host=north dbname=shard_1 user=owner"
state = "full"

[[node.shard]]
number = 3
dsn = "host=north dbname=shard_3"
state = "draining"

[[node]]
name = "south"

[[node.shard]]
number = 2
dsn = "host=south dbname=shard_2"
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tallystick.toml"


def read(path: Path, text: str) -> Configuration:
    path.write_text(text, encoding="utf-8")
    return read_configuration(path)


def test_nodes_carry_shards(path: Path) -> None:
    configuration = read(path, NODES)
    assert [shard.number for shard in configuration.shards] == [1, 2, 3]
    assert configuration.open_shards == [2]
    assert configuration.dsns[2] == configuration.owner_dsns[2] == "host=south dbname=shard_2"
    assert configuration.owner_dsns[1] == "host=north dbname=shard_1 user=owner"
    assert (configuration.cross_shard, configuration.saga_wait_seconds) == ("two_phase", 2.0)


def test_one_server_needs_no_node(path: Path) -> None:
    configuration = read(path, '[[shard]]\nnumber = 7\ndsn = "dbname=a"\n')
    assert configuration.dsns == {7: "dbname=a"}
    assert configuration.open_shards == [7]
    assert (configuration.cross_shard, configuration.saga_wait_seconds) == ("saga", 5.0)


def test_it_is_read_as_it_was_written(path: Path) -> None:
    configuration = Configuration(
        shard=[ShardConfiguration(9, "dbname=nine")],
        node=[
            NodeConfiguration(
                "a", [ShardConfiguration(1, 'dbname=o password="\\é', "dbname=o user=o", "full")]
            ),
            NodeConfiguration("b", [ShardConfiguration(2, "dbname=two"), ShardConfiguration(3, "dbname=x")]),
        ],
        cross_shard="two_phase",
        saga_wait_seconds=0.5,
        cache="rediss://:secret@cache.example:6380/1",
    )
    write_configuration(path, configuration)
    assert read_owner_configuration(path) == configuration
    assert read_configuration(path).owner_dsns == configuration.dsns
    for written in (path, path.with_name("owner.toml")):
        assert written.stat().st_mode & 0o777 == 0o600


def test_what_servers_read_says_nothing_of_the_owner(path: Path) -> None:
    write_configuration(path, Configuration([ShardConfiguration(1, "dbname=a user=s", "dbname=a user=o")]))
    assert "user=o" not in path.read_text(encoding="utf-8")
    owned = read_owner_configuration(path)
    assert owned.owner_dsns == owned.as_owner().dsns == {1: "dbname=a user=o"}


def test_the_owners_file_may_be_elsewhere_and_is_missing_only_by_default(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_configuration(path, Configuration([ShardConfiguration(1, "dbname=a")]))
    assert read_owner_configuration(path).owner_dsns == {1: "dbname=a"}
    elsewhere = tmp_path / "elsewhere.toml"
    for named in (None, elsewhere):
        monkeypatch.setenv("TALLYSTICK_OWNER_CONFIG", str(elsewhere))
        with pytest.raises(ConfigurationError, match="name one with --owner-config"):
            read_owner_configuration(path, named)
    elsewhere.write_text(f"{OWNED}number = 1\n", encoding="utf-8")
    assert read_owner_configuration(path).owner_dsns == {1: "dbname=a user=o"}


def test_an_owner_where_servers_read_it_is_warned_of(path: Path) -> None:
    (risk,) = risks_of_serving(read(path, NODES), unreachable=(1, 2, 3))
    assert "the owner_dsn of shard 1" in risk
    assert "owner.toml" in risk


OWNED = '[[shard]]\nowner_dsn = "dbname=a user=o"\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"{OWNED}number = 2", "shard 2 is not in"),
        (f"{OWNED}number = 1\ndsn = 'dbname=a'", "dsn"),
        ("[[shard]]\nnumber = 1\nowner_dsn = 'user=o'", "the owner_dsn of shard 1 names no database"),
    ],
)
def test_an_owners_file_that_is_wrong(path: Path, text: str, words: str) -> None:
    write_configuration(path, Configuration([ShardConfiguration(1, "dbname=a")]))
    path.with_name("owner.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=words) as raised:
        read_owner_configuration(path)
    assert "owner.toml" in str(raised.value)


def shard(number: object = 1, dsn: str = "dbname=a", more: str = "", *, table: str = "shard") -> str:
    return f'[[{table}]]\nnumber = {number}\ndsn = "{dsn}"\n{more}\n'


def node(name: str, *shards: str) -> str:
    return f'[[node]]\nname = "{name}"\n' + "".join(shards)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "expected at least one"),
        ("[[shard]", "line"),
        ("\0", "tallystick.toml"),
        (shard() + shard(dsn="dbname=b"), "shard 1 is listed twice"),
        (shard() + node("n", shard(dsn="dbname=b", table="node.shard")), "shard 1 is listed twice"),
        (shard(1) + shard(2), "shards 1 and 2 have the same database"),
        (shard(1, "host=x dbname=a user=one") + shard(2, "postgresql://two@x/a"), "the same database"),
        (
            shard(1, "host=x,y dbname=a") + shard(2, "host=y,x dbname=a"),
            "shards 1 and 2 have the same database",
        ),
        (
            shard(1, "host=x,y dbname=a") + shard(2, "host=z,y dbname=a"),
            "shards 1 and 2 have the same database",
        ),
        (
            shard(dsn="host=x,y port=1,2,3 dbname=a"),
            "the dsn of shard 1 has not one port for all hosts, nor one for each",
        ),
        (
            shard(dsn="dbname=a connect_timeout=soon"),
            "the dsn of shard 1 has a connect_timeout that is no whole number of seconds",
        ),
        (shard(0), "shard number 0 is outside 1 to 4095"),
        (shard(4096), "outside"),
        (shard("true"), "number"),
        (shard("1.5"), "number"),
        ("[[shard]]\nnumber = 1\n", "dsn"),
        (shard(dsn="not a dsn"), "the dsn of shard 1 is no libpq connection string"),
        (shard(dsn="host=x user=a"), "the dsn of shard 1 names no database: add dbname"),
        (shard(dsn="postgresql://a@x/"), "the dsn of shard 1 names no database: add dbname"),
        (shard(more="owner_dsn = 'not a dsn'"), "the owner_dsn of shard 1 is no libpq connection string"),
        (shard(more="owner_dsn = 'user=a'"), "the owner_dsn of shard 1 names no database: add dbname"),
        (shard(more='state = "closed"'), "state"),
        (shard(more='state = "full"'), "no shard is open"),
        (shard(more='state = "draining"'), "no shard is open"),
        (shard(more='colour = "red"'), "colour"),
        ("colour = 1\n" + shard(), "colour"),
        (node("n", shard(table="node.shard"), 'colour = "red"\n'), "colour"),
        (
            node("n", shard(table="node.shard")) + node("n", shard(2, "dbname=b", table="node.shard")),
            "node 'n' is named twice",
        ),
        (node("", shard(table="node.shard")), "the name of a node"),
        (node("n" * 65, shard(table="node.shard")), "the name of a node"),
        (node("n"), "shard"),
        ("saga_wait_seconds = 0.05\n" + shard(), "saga_wait_seconds 0.05 is outside 0.1 to 60.0"),
        ("saga_wait_seconds = 61\n" + shard(), "outside"),
        ('cache_key = "short"\n' + shard(), "cache_key is a secret of at least 32 characters"),
        ("accounts_per_tenant = 0\n" + shard(), "accounts_per_tenant is at least 1"),
        ("effective_at_max_days_back = 0\n" + shard(), "effective_at_max_days_back is outside 1 to 36525"),
        ("saga_wait_seconds = nan\n" + shard(), "outside"),
        ('saga_wait_seconds = "5"\n' + shard(), "saga_wait_seconds"),
        ('cross_shard = "hope"\n' + shard(), "cross_shard"),
        ('cache = "localhost:6379"\n' + shard(), "cache is to be like"),
        ('cache = "http://localhost"\n' + shard(), "cache is to be like"),
        ('cache = "valkey://:6379"\n' + shard(), "cache has no host"),
        ('cache = "valkey://host:99999"\n' + shard(), "cache has no host"),
    ],
)
def test_what_is_wrong_is_said_with_the_file(path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        read(path, text)
    assert words in str(refused.value)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value).strip()


def test_a_password_is_never_repeated(path: Path) -> None:
    for text in (
        'cache = "valkey://:SECRET@h:x"\n' + shard(),
        shard(dsn="password=SECRET x") + shard(2),
        shard(1, "password=SECRET") * 2,
    ):
        with pytest.raises(ConfigurationError) as refused:
            read(path, text)
        assert "SECRET" not in str(refused.value)


def test_a_way_of_crossing_that_is_not_known_is_refused_without_a_file_too() -> None:
    with pytest.raises(ConfigurationError, match='expected "saga" or "two_phase" as cross_shard, not "hope"'):
        configuration_of([(1, "postgresql:///one")], cross_shard="hope")


@pytest.mark.parametrize(
    "origins", ['["*"]', '["https://app.example", "http://localhost:3000", "http://[::1]:80"]', "[]"]
)
def test_origins(tmp_path: Path, origins: str) -> None:
    path = tmp_path / "tallystick.toml"
    path.write_text(f'cors_allowed_origins = {origins}\n[[shard]]\nnumber = 1\ndsn = "host=a dbname=b"\n')
    assert isinstance(read_configuration(path).cors_allowed_origins, list)


@pytest.mark.parametrize(
    "origin",
    [
        "app.example",
        "https://app.example/",
        "https://App.example",
        "ftp://a",
        "https://a,https://b",
        "",
        "null",
    ],
)
def test_what_is_no_origin(tmp_path: Path, origin: str) -> None:
    path = tmp_path / "tallystick.toml"
    path.write_text(f'cors_allowed_origins = ["{origin}"]\n[[shard]]\nnumber = 1\ndsn = "host=a dbname=b"\n')
    with pytest.raises(ConfigurationError, match="expected an origin"):
        read_configuration(path)


def test_all_origins_and_one(tmp_path: Path) -> None:
    path = tmp_path / "tallystick.toml"
    path.write_text(
        'cors_allowed_origins = ["*", "https://a"]\n[[shard]]\nnumber = 1\ndsn = "host=a dbname=b"\n'
    )
    with pytest.raises(ConfigurationError, match="every origin"):
        read_configuration(path)
