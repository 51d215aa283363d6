"""Secrets from the environment take the place of those in the files."""

import os
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from tallystick.service.configuration import (
    ConfigurationError,
    read_configuration,
    read_owner_configuration,
)
from tallystick.service.environment import remove_secrets

SECRET = "s3cret"


@pytest.fixture(autouse=True)
def _none_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("TALLYSTICK_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "tallystick.toml"
    path.write_text(
        '[[shard]]\nnumber = 1\ndsn = "host=one dbname=a user=login"\n'
        '[[node]]\nname = "north"\n[[node.shard]]\nnumber = 2\ndsn = "postgresql://login:own@two/b"\n'
    )
    return path


def test_a_password_for_each_dsn_that_has_none(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALLYSTICK_PASSWORD", "it's a secret")
    dsns = read_configuration(path).dsns
    assert conninfo_to_dict(dsns[1])["password"] == "it's a secret"
    assert conninfo_to_dict(dsns[2])["password"] == "own"


def test_a_file_of_passwords_stays(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_text(path.read_text().replace("user=login", "user=login passfile=/run/passwords"))
    monkeypatch.setenv("TALLYSTICK_PASSWORD", SECRET)
    assert "password" not in conninfo_to_dict(read_configuration(path).dsns[1])


def test_dsns_of_shards_with_and_without_a_node(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALLYSTICK_SHARD_1_DSN", "host=other dbname=a")
    file = path.with_name("dsn")
    file.write_text("host=third dbname=b\n")
    monkeypatch.setenv("TALLYSTICK_SHARD_2_DSN_FILE", str(file))
    monkeypatch.setenv("TALLYSTICK_PASSWORD", SECRET)
    dsns = read_configuration(path).dsns
    assert conninfo_to_dict(dsns[1]) == {"host": "other", "dbname": "a", "password": SECRET}
    assert conninfo_to_dict(dsns[2]) == {"host": "third", "dbname": "b", "password": SECRET}


def test_a_dsn_need_not_be_in_the_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_text("[[shard]]\nnumber = 1\n")
    with pytest.raises(ConfigurationError, match="missing required field `dsn`"):
        read_configuration(path)
    monkeypatch.setenv("TALLYSTICK_SHARD_1_DSN", "host=other dbname=a")
    assert read_configuration(path).dsns == {1: "host=other dbname=a"}


def test_the_cache_and_its_key(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_text(f'cache = "valkey://here"\ncache_key = "{"a" * 32}"\n{path.read_text()}')
    monkeypatch.setenv("TALLYSTICK_CACHE", f"valkey://:{SECRET}@there:6379/0")
    key = path.with_name("key")
    key.write_text(f"{'b' * 32}\r\n")
    monkeypatch.setenv("TALLYSTICK_CACHE_KEY_FILE", str(key))
    found = read_configuration(path)
    assert found.cache == f"valkey://:{SECRET}@there:6379/0"
    assert found.cache_key == "b" * 32


def test_the_file_of_the_keys_of_webhooks(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALLYSTICK_WEBHOOKS_KEY_FILE", "/run/secrets/webhooks")
    assert read_configuration(path).webhooks_key_file == "/run/secrets/webhooks"


def test_the_files_of_tls(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALLYSTICK_TLS_CERTIFICATE_FILE", "/run/secrets/certificate")
    monkeypatch.setenv("TALLYSTICK_TLS_KEY_FILE", "/run/secrets/key")
    found = read_configuration(path)
    assert (found.tls_certificate, found.tls_key) == ("/run/secrets/certificate", "/run/secrets/key")


def test_the_owner_needs_no_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALLYSTICK_SHARD_1_OWNER_DSN", "host=one dbname=a user=owner")
    monkeypatch.setenv("TALLYSTICK_OWNER_PASSWORD", SECRET)
    owned = read_owner_configuration(path)
    assert conninfo_to_dict(owned.owner_dsns[1])["password"] == SECRET
    assert owned.owner_dsns[2] == owned.dsns[2] == "postgresql://login:own@two/b"
    # Servers do not take it.
    assert read_configuration(path).shards[0].owner_dsn is None


def test_the_owners_file_needs_no_password(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = path.with_name("owner.toml")
    owner.write_text('[[shard]]\nnumber = 1\nowner_dsn = "host=one dbname=a user=owner"\n')
    owner.chmod(0o600)
    monkeypatch.setenv("TALLYSTICK_OWNER_PASSWORD", SECRET)
    assert conninfo_to_dict(read_owner_configuration(path).owner_dsns[1])["password"] == SECRET


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"TALLYSTICK_PASSWORD": SECRET, "TALLYSTICK_PASSWORD_FILE": "/x"}, "are both set"),
        ({"TALLYSTICK_PASSWORD": ""}, "TALLYSTICK_PASSWORD is empty"),
        (
            {"TALLYSTICK_PASSWORD_FILE": "/does/not/exist"},
            "TALLYSTICK_PASSWORD_FILE: /does/not/exist cannot be read: No such file or directory",
        ),
        ({"TALLYSTICK_PASSWORD_FILE": "/dev/null"}, "TALLYSTICK_PASSWORD_FILE is empty"),
        ({"TALLYSTICK_SHARD_3_DSN": f"password={SECRET}"}, "the file has no shard 3"),
        ({"TALLYSTICK_SHARD_1_DSN": f"nonsense {SECRET}"}, "TALLYSTICK_SHARD_1_DSN: the dsn of shard 1"),
        ({"TALLYSTICK_CACHE": f"nonsense://{SECRET}"}, "TALLYSTICK_CACHE: cache is to be like"),
        ({"TALLYSTICK_CACHE_KEY": SECRET}, "TALLYSTICK_CACHE_KEY: cache_key is a secret of at least"),
        ({"TALLYSTICK_SHARD_3_OWNER_DSN": f"dbname=x password={SECRET}"}, "shard 3 is not in"),
    ],
)
def test_what_is_wrong_is_named_and_not_shown(
    path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], says: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as refused:
        read_owner_configuration(path)
    assert says in str(refused.value)
    assert SECRET not in str(refused.value)


def test_they_can_be_taken_out_of_an_environment() -> None:
    secret = [
        "TALLYSTICK_CACHE", "TALLYSTICK_CACHE_FILE", "TALLYSTICK_CACHE_KEY_FILE", "TALLYSTICK_WEBHOOKS_KEY_FILE",
        "TALLYSTICK_PASSWORD", "TALLYSTICK_OWNER_PASSWORD_FILE", "TALLYSTICK_SHARD_1_DSN",
        "TALLYSTICK_SHARD_12_OWNER_DSN_FILE", "TALLYSTICK_TLS_CERTIFICATE_FILE", "TALLYSTICK_TLS_KEY_FILE",
    ]  # fmt: skip
    others = ["TALLYSTICK_CONFIG", "TALLYSTICK_LOG_LEVEL", "PATH"]
    environment = dict.fromkeys([*secret, *others], "x")
    assert sorted(remove_secrets(environment)) == sorted(secret)
    assert sorted(environment) == sorted(others)
