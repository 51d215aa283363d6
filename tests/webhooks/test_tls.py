"""Over real TLS: to a receiver whose certificate is of an authority that is trusted, and to no other."""

import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from tests.api.books import Books
from tests.crash.api_server import ApiServer
from tests.crash.databases import ShardDatabase
from tests.webhooks.conftest import client_of
from tests.webhooks.receiver import Receiver, receiving

# A company that has an authority of its own has addresses of its own, too.
PRIVATE = {"webhooks_allow_private": True}


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("authority") / "company.pem"
    authority.cert_pem.write_to_path(path)
    return path


def with_certificate(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


@pytest.fixture
def start(database: ShardDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator["Starter"]:
    with ExitStack() as stack:
        yield Starter(database, tmp_path, monkeypatch, stack)


class Starter:
    """Starts a server that trusts an authority in one of the ways that there are."""

    def __init__(
        self, database: ShardDatabase, folder: Path, monkeypatch: pytest.MonkeyPatch, stack: ExitStack
    ) -> None:
        self._database, self._folder, self._monkeypatch, self._stack = database, folder, monkeypatch, stack

    def __call__(self, way: str, ca_file: Path) -> ApiServer:
        settings: dict[str, object] = dict(PRIVATE)
        if way == "setting":
            settings["webhooks_ca_file"] = str(ca_file)
        elif way == "environment":
            self._monkeypatch.setenv("SSL_CERT_FILE", str(ca_file))
        server = ApiServer(self._folder, self._database, settings=settings)
        self._stack.callback(server.stop)
        server.start()
        return server


@pytest.mark.slow
@pytest.mark.parametrize("way", ["setting", "environment"])
def test_delivered_to_a_receiver_of_an_own_authority(
    start: Starter, authority: trustme.CA, ca_file: Path, way: str
) -> None:
    server = start(way, ca_file)
    tls = with_certificate(authority.issue_cert("127.0.0.1", "localhost"))
    with client_of(server) as client, receiving(tls) as receiver:
        books = Books(client)
        books.open("alice USD 100\n bob USD 0")
        for url in (receiver.url, receiver.url.replace("127.0.0.1", "localhost")):
            made = client.send("POST", "/v1/webhooks", {"url": url}).ok().json
            assert server.command("webhooks", "test", made["webhook"]["id"]).returncode == 0
            positions = [books.transfer("alice", "bob", 1).ok()["position"] for _ in range(5)]
            receiver.wait(lambda: len(receiver.accepted()) >= 6, "a test message and 5 events")
            assert [one.position for one in receiver.accepted()[1:]] == positions
            receiver.verify(made["secret"])
            client.send("DELETE", f"/v1/webhooks/{made['webhook']['id']}").ok()
            receiver.received.clear()


def expired(authority: trustme.CA) -> trustme.LeafCert:
    return authority.issue_cert(
        "127.0.0.1",
        not_before=datetime.now(UTC) - timedelta(days=2),
        not_after=datetime.now(UTC) - timedelta(days=1),
    )


@pytest.mark.slow
def test_refused_with_words_that_say_why(
    start: Starter, authority: trustme.CA, ca_file: Path, receiver: Receiver
) -> None:
    server = start("setting", ca_file)
    wrong = {
        "the certificate has expired": expired(authority),
        "the certificate is for another address": authority.issue_cert("10.0.0.1", "shop.example"),
        "the certificate is of an authority that is not known here": trustme.CA().issue_cert("127.0.0.1"),
    }
    with client_of(server) as client:
        for words, certificate in wrong.items():
            with receiving(with_certificate(certificate)) as refused:
                made = (
                    client.send("POST", "/v1/webhooks", {"url": f"{refused.url}/?token=t0ps3cret"}).ok().json
                )
                path = f"/v1/webhooks/{made['webhook']['id']}"
                said = client.send("POST", f"{path}/test").ok()
                assert (said["delivered"], said["status"]) == (False, None)
                assert words in said["error"]
                assert "t0ps3cret" not in said["error"]
                assert not refused.received
                client.send("DELETE", path).ok()
        with receiving(with_certificate(authority.issue_cert("127.0.0.1"))) as named:
            url = named.url.replace("127.0.0.1", "localhost")
            made = client.send("POST", "/v1/webhooks", {"url": url}).ok().json["webhook"]["id"]
            said = client.send("POST", f"/v1/webhooks/{made}/test").ok()
            assert "the certificate is for another name" in said["error"]
            assert not named.received
        # One that does not speak TLS at all.
        url = receiver.url.replace("http://", "https://")
        made = client.send("POST", "/v1/webhooks", {"url": url}).ok().json["webhook"]["id"]
        said = client.send("POST", f"/v1/webhooks/{made}/test").ok()
        assert "it does not speak TLS as it should" in said["error"]
        assert not receiver.received
    assert "t0ps3cret" not in server.log_path.read_text()


@pytest.mark.slow
def test_nobody_else_trusts_that_authority(start: Starter, authority: trustme.CA, ca_file: Path) -> None:
    server = start("not at all", ca_file)
    with (
        client_of(server) as client,
        receiving(with_certificate(authority.issue_cert("127.0.0.1"))) as receiver,
    ):
        made = client.send("POST", "/v1/webhooks", {"url": receiver.url}).ok().json["webhook"]["id"]
        said = client.send("POST", f"/v1/webhooks/{made}/test").ok()
        assert "webhooks_ca_file" in said["error"]
        assert not receiver.received


@pytest.mark.slow
@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
def test_a_file_without_certificates_is_said_at_once(
    database: ShardDatabase, tmp_path: Path, content: bytes | None
) -> None:
    server = ApiServer(tmp_path, database)
    path = tmp_path / "authorities.pem"
    if content is not None:
        path.write_bytes(content)
    with server.configuration_path.open("r+", encoding="utf-8") as file:
        text = file.read()
        file.seek(0)
        file.write(f'webhooks_ca_file = "{path}"\n{text}')
    said = server.command("webhooks", "list")
    assert said.returncode == 1
    assert "webhooks_ca_file" in said.stderr
    assert len(said.stderr.splitlines()) == 1
