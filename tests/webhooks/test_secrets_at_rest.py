"""Secrets of webhooks in the databases: encrypted, migrated, and never a reason to stop the others."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from standardwebhooks import Webhook

from tallystick.embedded.postgres import EmbeddedPostgres
from tallystick.followers.webhooks.secret_keys import SecretKey
from tallystick.service.webhooks.key_file import add_key
from tests.api.books import Books
from tests.api.client import Client
from tests.crash.api_server import ApiServer
from tests.crash.databases import ShardDatabase, temporary_database
from tests.webhook_keys import KEY, key_file
from tests.webhooks.conftest import INSIDE, api_server, client_of
from tests.webhooks.receiver import Receiver

TABLES = (
    "SELECT oid::regclass::text FROM pg_class"
    " WHERE relkind IN ('r', 'm', 'p')"
    " AND relnamespace::regnamespace::text NOT IN ('information_schema', 'pg_catalog')"
)


@pytest.fixture
def empty(postgres: EmbeddedPostgres) -> Iterator[ShardDatabase]:
    with temporary_database(postgres) as made:
        yield made


def every_row(database: ShardDatabase) -> str:
    """All rows of all tables, as a dump has them, and as PostgreSQL shows bytes."""
    with psycopg.connect(database.owner_dsn) as connection:
        tables = [row[0] for row in connection.execute(TABLES).fetchall()]
        assert "webhook_endpoints" in tables
        found = []
        for table in tables:
            name = sql.SQL(table)  # quoted by PostgreSQL
            found += connection.execute(sql.SQL("SELECT one::text FROM {} AS one").format(name)).fetchall()
    return "\n".join(row[0] for row in found)


def forms(secret: str) -> list[str]:
    """The ways in which a secret could stand in a row."""
    encoded = secret.partition("_")[2]
    value = base64.b64decode(encoded)
    return [encoded, value.hex(), base64.urlsafe_b64encode(value).decode(), repr(value)[2:-1]]


def reveals(text: str, *secrets: str) -> bool:
    return any(form in text for secret in secrets for form in forms(secret))


def make_plain(database: ShardDatabase, endpoint: str, secret: str) -> None:
    """Keep a secret as it is, as servers did before."""
    with psycopg.connect(database.owner_dsn) as connection:
        connection.execute(
            "UPDATE webhook_endpoints SET secret = %s, secret_key = NULL WHERE id = %s",
            (base64.b64decode(secret.removeprefix("whsec_")), endpoint),
        )


def made(client: Client, url: str) -> tuple[str, str]:
    answer = client.send("POST", "/v1/webhooks", {"url": url}).ok().json
    return answer["webhook"]["id"], answer["secret"]


def command(server: ApiServer, *arguments: str) -> dict[str, Any]:
    done = server.command("webhooks", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@pytest.mark.slow
def test_no_row_of_any_table_reveals_a_secret_or_a_key(
    server: ApiServer, client: Client, database: ShardDatabase, receiver: Receiver
) -> None:
    endpoint, first = made(client, receiver.url)
    second = client.send("POST", f"/v1/webhooks/{endpoint}/rotate", {"overlap_seconds": 600}).ok()["secret"]
    assert not reveals(every_row(database), first, second, KEY.text())
    make_plain(database, endpoint, second)
    assert reveals(every_row(database), second)
    assert command(server, "rotate-keys")["changed"] == 1
    assert not reveals(every_row(database), first, second, KEY.text())
    client.send("POST", f"/v1/webhooks/{endpoint}/test").ok()
    receiver.wait(lambda: bool(receiver.accepted()), "a test message")
    receiver.verify(first)
    receiver.verify(second)


@pytest.mark.slow
def test_old_books_are_served_and_migrated_by_a_new_key(
    empty: ShardDatabase, tmp_path: Path, receivers: list[Receiver]
) -> None:
    """From a server without a key, over one that has a key, to one with another key, without a restart."""
    # What its processes show to others is looked at, too.
    server = ApiServer(tmp_path, empty, settings=INSIDE, anew=True)
    configured = server.configuration_path.read_text()
    (line,) = (one for one in configured.splitlines() if one.startswith("webhooks_key_file"))
    with api_server(server), client_of(server) as client:
        endpoint, secret = made(client, receivers[0].url)
        make_plain(empty, endpoint, secret)
    server.configuration_path.write_text(configured.replace(f"{line}\n", ""))
    with api_server(server), client_of(server) as client:
        for path in ("/v1/webhooks", f"/v1/webhooks/{endpoint}/rotate"):
            body = {} if path.endswith("rotate") else {"url": receivers[1].url}
            refused = client.send("POST", path, body)
            assert (refused.status, refused["code"]) == (409, "webhook_key_missing")
            assert "tallystick webhooks make-key" in refused["detail"]
        Books(client).open("alice USD 10000")
        receivers[0].wait(lambda: bool(receivers[0].accepted()), "an event")
        receivers[0].verify(secret)
        assert "make-key`, and then `tallystick webhooks rotate-keys" in server.log_path.read_text()
        assert endpoint in server.log_path.read_text()
        assert "rotate-keys" in server.command("migrate").stderr
        said = server.command("webhooks", "rotate-keys")
        assert (said.returncode, said.stdout) == (1, "")
        assert "make-key" in said.stderr
        said = server.command("webhooks", "make-key")
        assert "name a file with --file" in said.stderr
        file = tmp_path / "new keys"
        said = server.command("webhooks", "make-key", "--file", str(file))
        assert said.returncode == 0, said.stderr
        assert f'webhooks_key_file = "{file}"' in said.stderr
    keys = file.read_text()
    server.configuration_path.write_text(f'webhooks_key_file = "{file}"\n{configured.replace(line, "")}')
    with api_server(server), client_of(server) as client:
        done = command(server, "rotate-keys")
        assert (done["endpoints"], done["changed"], done["unreadable"], done["unused_keys"]) == (1, 1, {}, [])
        newer = command(server, "make-key")
        assert newer["key"] != done["key"]
        again = command(server, "rotate-keys")
        assert (again["key"], again["changed"], again["unused_keys"]) == (newer["key"], 1, [done["key"]])
        assert command(server, "rotate-keys")["changed"] == 0
        taken = len(receivers[0].accepted())
        Books(client).open("bob USD 10000")
        receivers[0].wait(lambda: len(receivers[0].accepted()) > taken, "an event with the newer key")
        receivers[0].verify(secret)
        # Nothing of a key is anywhere but in its file.
        shown = server.log_path.read_text() + json.dumps([done, newer, again]) + every_row(empty)
        for process in server.processes():
            shown += " ".join([*process.cmdline(), *process.environ().values()])
        for one in (keys, file.read_text()):
            for text in one.splitlines():
                assert text.startswith("#") or not reveals(shown, text)
        assert not reveals(every_row(empty), secret)


@pytest.mark.slow
def test_a_missing_key_is_named_and_stops_no_other_endpoint(
    empty: ShardDatabase, tmp_path: Path, receivers: list[Receiver]
) -> None:
    lost, other = SecretKey.new(), SecretKey.new()
    path = Path(key_file(tmp_path, lost, name="keys"))
    server = ApiServer(tmp_path, empty, settings={**INSIDE, "webhooks_key_file": str(path)})
    with api_server(server), client_of(server) as client:
        books = Books(client)
        books.open("alice USD 10000")
        waiting, secret = made(client, receivers[0].url)
        key_file(tmp_path, other, name="keys")
        # The server follows its file: what it makes from some moment on is encrypted with the other key.
        receivers[1].wait(lambda: "were read again" in server.log_path.read_text(), "the file was read")
        told, told_secret = made(client, receivers[1].url)
        books.open("bob USD 0")
        receivers[1].wait(lambda: bool(receivers[1].accepted()), "an event for the other")
        receivers[1].verify(told_secret)
        receivers[1].wait(lambda: "waits for its key" in server.log_path.read_text(), "it is logged")
        why = f"the secret of webhook endpoint {waiting} is encrypted with key {lost.name}"
        assert why in server.log_path.read_text()
        (progress,) = client.get(f"/v1/webhooks/{waiting}").ok()["deliveries"]
        assert (progress["state"], progress["attempts"], progress["parked_at"]) == ("retrying", 0, None)
        assert why in progress["last_error"]
        tested = client.send("POST", f"/v1/webhooks/{waiting}/test").ok()
        assert (tested["delivered"], tested["status"]) == (False, None)
        assert why in tested["error"]
        assert client.get(f"/v1/webhooks/{told}").ok()["deliveries"][0]["last_error"] is None
        said = server.command("webhooks", "rotate-keys", "--json")
        assert said.returncode == 1
        assert why in said.stderr
        assert list(json.loads(said.stdout)["unreadable"]) == [waiting]
        assert f"no message is sent to {waiting}" in server.command("migrate").stderr
        assert receivers[0].received == []
        key_file(tmp_path, other, lost, name="keys")
        receivers[0].wait(lambda: bool(receivers[0].accepted()), "an event, as the key is there again")
        receivers[0].verify(secret)
        # With a key that is lost for ever, a new secret does it.
        key_file(tmp_path, add := SecretKey.new(), name="keys")
        receivers[1].wait(lambda: f'["{add.name}"]' in server.log_path.read_text(), "the file was read")
        renewed = client.send("POST", f"/v1/webhooks/{waiting}/rotate", {"overlap_seconds": 60}).ok()
        assert renewed["webhook"]["previous_secret_until"] is None
        assert client.send("POST", f"/v1/webhooks/{waiting}/test").ok()["delivered"]
        last = receivers[0].received[-1]
        Webhook(renewed["secret"]).verify(last.body, last.headers)


@pytest.mark.slow
def test_a_file_of_keys_that_is_not_right_is_named_before_anything_is_served(
    empty: ShardDatabase, tmp_path: Path
) -> None:
    server = ApiServer(tmp_path, empty)
    path = tmp_path / "webhook_keys"
    add_key(path)
    path.chmod(0o644)
    said = server.command("serve", "--port", "1")
    assert said.returncode == 1
    assert f"webhooks_key_file {path} is open to all users: chmod o=" in said.stderr
    path.unlink()
    said = server.command("serve", "--port", "1")
    assert said.returncode == 1
    assert f"there is no webhooks_key_file {path}" in said.stderr
    assert "there is no webhooks_key_file" in server.command("migrate").stderr


def test_a_secret_is_part_of_two_answers_only(client: Client) -> None:
    """Those that make it: of an endpoint, and of a rotation."""
    described = client.get("/openapi.json").ok().json
    with_secret = [
        name
        for name, one in described["components"]["schemas"].items()
        if "secret" in one.get("properties", {})
    ]
    assert with_secret == ["NewSecret"]
    answering = [
        f"{method} {path}"
        for path, methods in described["paths"].items()
        for method, one in methods.items()
        if "schemas/NewSecret" in json.dumps(one.get("responses", {}))
    ]
    assert sorted(answering) == ["post /v1/webhooks", "post /v1/webhooks/{identifier}/rotate"]
