"""`tallystick serve` with a certificate: HTTPS, its oldest version, the operators' port, and what is refused."""

import ssl
import subprocess
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
import requests
import trustme

from tallystick.embedded.postgres import EmbeddedPostgres
from tests.api.client import Client
from tests.api.server import HOST, START_SECONDS_MAX, Installation, Server
from tests.crash.databases import temporary_database
from tests.forked import Forked, run_forked
from tests.waiting import wait_for

pytestmark = pytest.mark.slow


class TlsServer(Server):
    """A server whose callers trust an authority of the test."""

    authority = Path()

    def _wait_until_ready(self, process: "subprocess.Popen[bytes] | Forked") -> None:
        self.url = self.url.replace("http:", "https:")

        def is_ready() -> bool:
            assert process.poll() is None, self.log_path.read_text()
            with suppress(requests.RequestException):
                return self.get("/readyz").status_code == 200
            return False

        wait_for(is_ready, "the server is ready", START_SECONDS_MAX)

    def get(self, path: str, key: str = "") -> requests.Response:
        headers = {"Authorization": f"Bearer {key}"}
        return requests.get(self.url + path, verify=str(self.authority), timeout=5, headers=headers)


@pytest.fixture(scope="module")
def installation(
    postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    folder = tmp_path_factory.mktemp("tls")
    with temporary_database(postgres) as database, closing(Installation(database, folder)) as made:
        yield made


@pytest.fixture(scope="module")
def files(installation: Installation) -> Path:
    """A certificate and its key, the key of another one, and the authority."""
    authority = trustme.CA()
    issued = authority.issue_cert(HOST)
    issued.cert_chain_pems[0].write_to_path(installation.folder / "certificate.pem")
    issued.private_key_pem.write_to_path(installation.folder / "key.pem")
    authority.issue_cert(HOST).private_key_pem.write_to_path(installation.folder / "other.pem")
    authority.cert_pem.write_to_path(installation.folder / "authority.pem")
    return installation.folder


@pytest.fixture(scope="module")
def server(installation: Installation, files: Path) -> Iterator[TlsServer]:
    made = TlsServer(
        installation,
        "https",
        "--tls-certificate", str(files / "certificate.pem"),
        "--tls-key", str(files / "key.pem"),
    )  # fmt: skip
    made.authority = files / "authority.pem"
    with made:
        yield made


def test_it_speaks_https_alone(installation: Installation, server: TlsServer) -> None:
    key = installation.make_key("default").key
    assert server.get("/v1/assets", key).status_code == 200
    assert server.get("/v1/assets", "no key").status_code == 401
    with pytest.raises(requests.ConnectionError):
        requests.get(server.url.replace("https:", "http:") + "/healthz", timeout=5)


def test_the_operators_port_answers_probes_without_tls(server: TlsServer) -> None:
    with Client(f"http://{HOST}:{server.metrics_port}", None) as caller:
        for path in ("/healthz", "/readyz?all"):
            assert caller.get(path).status == 200
        assert b"tallystick_shard_up{" in caller.get("/metrics").body


@pytest.mark.parametrize(("version", "accepted"), [("TLSv1_1", False), ("TLSv1_2", True), ("TLSv1_3", True)])
def test_old_versions_are_refused(server: TlsServer, files: Path, version: str, accepted: bool) -> None:
    only = ssl.TLSVersion[version]
    # The program of the system, because Python's own library may refuse to try what is old.
    option = {"TLSv1_1": "-tls1_1", "TLSv1_2": "-tls1_2", "TLSv1_3": "-tls1_3"}[only.name]
    place = server.url.removeprefix("https://")
    tried = subprocess.run(
        ["openssl", "s_client", "-connect", place, option, "-cipher", "DEFAULT@SECLEVEL=0", "-brief",
         "-CAfile", str(files / "authority.pem")],
        input=b"", capture_output=True, timeout=30, check=False,
    )  # fmt: skip
    assert (tried.returncode == 0) is accepted, tried.stderr


@pytest.mark.parametrize(
    ("certificate", "key", "says"),
    [
        ("certificate.pem", None, "belong together"),
        ("certificate.pem", "other.pem", "expected a certificate as PEM, and its key"),
        ("nothing.pem", "key.pem", "cannot be read"),
        ("authority.pem", "certificate.pem", "expected a certificate as PEM, and its key"),
    ],
)
def test_what_cannot_be_used_is_said_before_anything_listens(
    installation: Installation, files: Path, certificate: str, key: str | None, says: str
) -> None:
    options = ["--tls-certificate", str(files / certificate)]
    if key is not None:
        options += ["--tls-key", str(files / key)]
    said = run_forked(["serve", "--config", str(installation.configuration_path), *options], timeout=60)
    assert said.returncode != 0
    assert says in said.stderr
