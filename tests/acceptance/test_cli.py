"""The commands that work on a database that exists: migrate, keys, accounts, transfer."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import click
import psutil
import pytest

from tallystick.cli.main import commands
from tallystick.embedded.postgres import EmbeddedPostgres
from tallystick.embedded.postgres_cluster import LOGIN_ROLE
from tallystick.service.configuration import (
    OWNER_FILE,
    Configuration,
    ConfigurationError,
    ShardConfiguration,
    read_owner_configuration,
    write_configuration,
)
from tests.acceptance.processes import COMMAND, environment, free_port, gone, run
from tests.crash.databases import temporary_server
from tests.webhook_keys import key_file

NOBODY = "acct_0023ejy4p9kvt6"


class Installation:
    """A folder with a configuration file, and the command line in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, *arguments: str) -> CompletedProcess[str]:
        return run(*arguments, folder=self.folder)

    def json(self, *arguments: str) -> dict[str, Any]:
        done = self.run(*arguments, "--json")
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        assert done.stdout.count("\n") == 1
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def fails(self, *arguments: str, status: int = 1) -> str:
        done = self.run(*arguments)
        assert done.returncode == status, (done.stdout, done.stderr)
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1
        return done.stderr

    def open(self, owner: str, *options: str) -> str:
        return str(self.json("accounts", "open", "--owner", owner, "--asset", "USD", *options)["id"])


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedPostgres]:
    with temporary_server() as server:
        yield server


@pytest.fixture(scope="module")
def installation(server: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """A migrated shard."""
    folder = tmp_path_factory.mktemp("installation")
    configure(server, folder, "shard_1")
    installation = Installation(folder)
    (applied,) = installation.json("migrate")["shards"]
    assert applied["shard"] == 1
    assert applied["applied"]
    return installation


def configure(server: EmbeddedPostgres, folder: Path, database: str) -> Path:
    server.create_database(database)
    shard = ShardConfiguration(1, server.dsn(database, role=LOGIN_ROLE), server.dsn(database))
    path = folder / "tallystick.toml"
    write_configuration(path, Configuration([shard], webhooks_key_file=key_file(folder)))
    return path


def test_migrating_again_is_harmless(installation: Installation) -> None:
    assert installation.json("migrate") == {"shards": [{"shard": 1, "applied": []}]}
    assert installation.run("migrate").stdout == "shard 1: nothing to do\n"


def test_a_key_is_shown_once_and_revoked_once(installation: Installation) -> None:
    made = installation.json("keys", "create", "--name", "shop", "--tenant", "shops")
    assert made["key"].startswith(f"tally_{made['id']}_")
    listed = installation.run("keys", "list")
    assert made["id"] in listed.stdout
    assert made["key"] not in listed.stdout
    assert installation.json("keys", "revoke", made["id"]) == {"id": made["id"], "revoked": True}
    assert "tallystick keys list" in installation.fails("keys", "revoke", made["id"])
    (row,) = [row for row in installation.json("keys", "list")["keys"] if row["id"] == made["id"]]
    assert (row["name"], row["tenant"], row["revoked_at"] is None) == ("shop", "shops", False)


def test_a_key_is_given_little_and_is_changed_and_rotated(installation: Installation) -> None:
    made = installation.json(
        "keys", "create", "--name", "till", "--expires", "90d", "--network", "192.0.2.0/24"
    )
    assert (made["scopes"], made["networks"]) == (["read"], ["192.0.2.0/24"])
    assert made["expires_at"] is not None
    wanted = ("--scope", "read", "--scope", "post", "--expires", "never", "--network", "anywhere")
    changed = installation.json("keys", "change", made["id"], *wanted, "--name", "a till")
    assert changed["scopes"] == ["read", "post"]
    assert (changed["name"], changed["networks"], changed["expires_at"]) == ("a till", [], None)
    rotated = installation.json("keys", "rotate", made["id"], "--overlap", "2h")
    assert rotated["key"] != made["key"]
    (row,) = [row for row in installation.json("keys", "list")["keys"] if row["id"] == made["id"]]
    assert row["previous_until"] == rotated["previous_until"]
    assert "read post" in installation.run("keys", "list").stdout
    for refused in (("--expires", "soon"), ("--network", "here"), ()):
        assert installation.fails("keys", "change", made["id"], *refused)
    assert "tallystick keys list" in installation.fails("keys", "rotate", "ffffffffffff")
    assert "--overlap" in installation.fails("keys", "rotate", made["id"], "--overlap", "1y")


def test_money_moves_once_for_each_key(installation: Installation) -> None:
    bank = installation.open("bank", "--kind", "system")
    carol = installation.open("carol", "--max-balance", "2000")
    arguments = ("transfer", bank, carol, "1250", "USD", "--key", "wages", "--description", "for [red]May")
    first = installation.json(*arguments)
    assert first["idempotency_key"] == "wages"
    assert [entry["amount"] for entry in first["entries"]] == ["-1250", "1250"]
    assert installation.json(*arguments)["id"] == first["id"]
    shown = installation.json("accounts", "show", carol)
    assert (shown["account"]["balance"], len(shown["entries"])) == ("1250", 1)
    text = installation.run("accounts", "show", carol).stdout
    assert "for [red]May" in text
    assert "\x1b" not in text
    assert first["id"] in text
    (listed,) = installation.json("accounts", "list", "--owner", "carol")["accounts"]
    assert listed == shown["account"]
    # A random key is printed, so that the same transfer can be asked for again.
    printed = installation.run("transfer", bank, carol, "1", "USD").stdout
    key = printed.split("idempotency key")[1].split()[0]
    again = installation.json("transfer", bank, carol, "1", "USD", "--key", key)
    assert again["id"] in printed


def test_every_time_is_printed_in_one_way(installation: Installation) -> None:
    bank, ivan = installation.open("vault", "--kind", "system"), installation.open("ivan")
    key = installation.json("keys", "create", "--name", "times")
    installation.run("keys", "revoke", key["id"])
    webhook = "https://192.0.43.8/hooks"
    for arguments, times in (
        (("transfer", bank, ivan, "1", "USD"), 1),
        (("accounts", "show", ivan), 1),
        (("keys", "list"), 2),
        (("webhooks", "create", "--url", webhook), 0),
        (("webhooks", "list"), 1),
    ):
        done = installation.run(*arguments)
        assert (done.returncode, done.stderr.count("error")) == (0, 0), done.stderr
        right = re.findall(r"(?<!\S)\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z(?!\S)", done.stdout)
        assert len(right) >= times, done.stdout
        # What has a date and is not of that form.
        assert len(re.findall(r"\b\d{4}-\d\d-\d\d\b|\b\d{4}-\d\d-\d\dT", done.stdout)) == len(right), (
            done.stdout
        )


def test_a_system_owner_takes_fees(installation: Installation) -> None:
    installation.json("transfer", "@bank-in", installation.open("heidi"), "500", "USD")
    installation.json("transfer", "@bank-in", "@fees", "25", "USD")
    (fees,) = installation.json("accounts", "total", "@fees")["balances"]
    assert fees == {"asset": "USD", "balance": "25", "held": "0", "available": "25", "accounts": 1}
    assert "25" in installation.run("accounts", "total", "@fees").stdout
    assert "expected @ and words" in installation.fails("accounts", "total", "fees")


def test_a_refusal_has_its_code_and_detail(installation: Installation) -> None:
    dave, erin = installation.open("dave"), installation.open("erin")
    refused = installation.run("transfer", dave, erin, "1", "USD", "--json")
    assert refused.returncode == 1
    assert json.loads(refused.stdout)["code"] == "insufficient_funds"
    assert refused.stderr.startswith("error: insufficient_funds")
    assert "account_not_found" in installation.fails("accounts", "show", NOBODY)


def test_an_account_is_frozen_closed_and_opened_again(installation: Installation) -> None:
    frank = installation.open("frank", "--key", "frank's account")
    assert installation.open("frank", "--key", "frank's account") == frank
    assert installation.json("accounts", "freeze", frank)["status"] == "frozen"
    assert installation.json("accounts", "unfreeze", frank)["status"] == "open"
    assert installation.json("accounts", "close", frank)["status"] == "closed"
    assert "closed, not frozen" in installation.fails("accounts", "unfreeze", frank)
    assert installation.json("accounts", "reopen", frank)["status"] == "open"


def test_another_tenant_does_not_see_the_account(installation: Installation) -> None:
    grace = installation.open("grace")
    installation.json("keys", "create", "--name", "theirs", "--tenant", "others")
    assert "account_not_found" in installation.fails("accounts", "show", grace, "--tenant", "others")
    assert "keys create" in installation.fails("accounts", "show", grace, "--tenant", "nobody")


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("accounts", "show", "acct_nonsense"), 1, "id: expected"),
        (("accounts", "open", "--owner", "x", "--asset", "ZZZ"), 1, "asset: expected"),
        (("accounts", "open", "--owner", "", "--asset", "USD"), 1, "owner: expected"),
        (("accounts", "open", "--owner", "x", "--asset", "USD", "--max-balance", "12.5"), 1, "max_balance"),
        (("accounts", "open", "--asset", "USD"), 2, "accounts open --help"),
        (("accounts", "show", NOBODY, "--entries", "501"), 2, "accounts show --help"),
        (("transfer", NOBODY, NOBODY, "12.50", "USD"), 1, "amount: expected"),
        (("transfer", NOBODY, NOBODY, "0", "USD"), 1, "amount: expected"),
        (("transfer", NOBODY, NOBODY, "١٢", "USD"), 1, "amount: expected"),
        (("transfer", NOBODY, NOBODY, "1", "USD", "--key", ""), 1, "--key"),
        (("transfer", NOBODY, NOBODY, "1", "USD", "--key", "k" * 256), 1, "255"),
        (("transfer", NOBODY, NOBODY), 2, "transfer --help"),
        (("keys", "create", "--name", "n" * 256), 1, "name: expected"),
        (("keys", "list", "--config", "missing.toml"), 1, "no configuration file"),
        (("nonsense",), 2, "tallystick --help"),
    ],
)
def test_bad_input_is_one_line(
    installation: Installation, arguments: tuple[str, ...], status: int, words: str
) -> None:
    assert words in installation.fails(*arguments, status=status)


def test_a_database_that_is_missing_empty_or_gone_is_one_line(
    server: EmbeddedPostgres, tmp_path: Path
) -> None:
    here = Installation(tmp_path)
    assert "tallystick up" in here.fails("keys", "list")
    path = configure(server, tmp_path, "empty")
    assert "run `tallystick migrate`" in here.fails("keys", "list")
    assert "run `tallystick migrate`" in here.fails("serve")
    secret = server.dsn("empty", role=LOGIN_ROLE).split(":")[2].split("@")[0]
    gone = server.dsn("nowhere", role=LOGIN_ROLE)
    # Without it, the owner connects as servers do.
    (tmp_path / OWNER_FILE).unlink()
    write_configuration(path, Configuration([ShardConfiguration(1, gone)]))
    for said in (here.fails("keys", "list"), here.fails("migrate"), here.fails("serve")):
        assert "the database is missing" in said
        assert secret not in said
    nobody = f"host={tmp_path} dbname=shard_1 password={secret}"
    write_configuration(path, Configuration([ShardConfiguration(1, nobody)]))
    for said in (here.fails("keys", "list"), here.fails("migrate")):
        assert "shard 1 cannot be reached" in said
        assert secret not in said
    path.write_text("[[shard]]\nnumber = 0\ndsn = ''\n", encoding="utf-8")
    assert "shard number 0" in here.fails("keys", "list")


def test_the_server_takes_a_port_for_itself_and_its_workers_do_not_outlive_it(
    installation: Installation,
) -> None:
    port = str(free_port())
    arguments = ["serve", "--port", port, "--workers", "2"]
    with subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=installation.folder,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as server:
        assert server.stderr is not None
        assert json.loads(server.stderr.readline())["event"] == "serving"
        assert f"port {port} is taken" in installation.fails("serve", "--port", port)
        main = psutil.Process(server.pid)
        while len(main.children()) < 2:
            assert server.poll() is None
            time.sleep(0.05)
        workers = [child.pid for child in main.children()]
        server.kill()
        assert gone(workers)


def test_no_log_holds_a_secret() -> None:
    program = """
import logging, structlog
from tallystick.service.logging import configure_logging
configure_logging()
try:
    raise ValueError("postgresql://tallystick_login:SECRET@/shard_1?host=/tmp")
except ValueError:
    structlog.get_logger("ours").exception("failed", dsn="host=/tmp password='SEC RET' user=x", limit=3)
logging.getLogger("theirs").warning("key %s", "tally_00ff00ff00ff_SECRET-x_y")
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True)
    first, second = map(json.loads, done.stderr.splitlines())
    assert "SEC" not in done.stderr
    assert (first["logger"], first["level"], first["limit"]) == ("ours", "error", 3)
    assert second["event"] == "key tally_00ff00ff00ff_***"


@pytest.mark.parametrize(
    "name", ["up", "serve", "migrate", "keys", "accounts", "transfer", "sagas", "webhooks", "verify", "bench"]
)
def test_every_command_says_what_it_does_with_an_example(name: str) -> None:
    command = commands.get_command(click.Context(commands), name)
    assert command is not None
    parts = command.commands.values() if isinstance(command, click.Group) else ()
    for one in (command, *parts):
        assert one.help
        assert f"tallystick {name} " in (one.epilog or "")
    for one in parts or (command,):
        assert any("--json" in option.opts for option in one.params)


def test_a_group_that_is_called_alone_says_what_it_has() -> None:
    groups: list[tuple[str, ...]] = [()]
    groups += [
        (name,)
        for name in commands.list_commands(click.Context(commands))
        if isinstance(commands.get_command(click.Context(commands), name), click.Group)
    ]
    assert len(groups) > 1
    for group in groups:
        alone, asked = run(*group), run(*group, "--help")
        assert (alone.returncode, alone.stderr) == (0, "")
        assert alone.stdout == asked.stdout
        assert alone.stdout.startswith("Usage: tallystick")
        assert "\nCommands:\n" in alone.stdout
        assert "..." not in alone.stdout.partition("Commands:")[2], "no sentence is cut"
        assert re.search(rf"^ +(Begin with: )?tallystick {' '.join(group)}", alone.stdout, re.MULTILINE)


def test_a_configuration_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "tallystick.toml"
    shards = [
        ShardConfiguration(1, 'host=/tmp dbname=a password="\\é'),
        ShardConfiguration(7, "dbname=b", "dbname=b user=o"),
    ]
    write_configuration(path, Configuration(shards))
    assert read_owner_configuration(path) == Configuration(shards)
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(ConfigurationError, match="choose another folder"):
        write_configuration(tmp_path / "missing" / "tallystick.toml", Configuration(shards))
