"""`tallystick up`: from nothing to a payment, stopped in order, killed, and started again."""

import json
import os
import signal
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from tallystick.cli.installation import PORT_WAIT_SECONDS
from tallystick.domain import limits
from tests.acceptance.processes import Up, call, free_port, gone, run, servers, shell
from tests.metrics import metrics_at
from tests.waiting import wait_for

CACHED_AGAIN_SECONDS_MAX = 60.0
# At once, and after a pause when it ends soon again.
AGAIN = (
    "PostgreSQL goes on, and the API is started again at once",
    "PostgreSQL goes on, and the API is started again in 1 s",
)


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One data folder for all tests: the first that needs it makes the database."""
    folder = tmp_path_factory.mktemp("up") / "a folder"
    yield folder
    remove(folder)


def remove(folder: Path) -> None:
    for server in servers(folder):
        server.remove()


def descendants(up: Up) -> list[int]:
    return [process.pid for process in psutil.Process(up.process.pid).children(recursive=True)]


def balance(up_ready: dict[str, object], account: str) -> int:
    status, found = call(up_ready, "GET", f"/v1/accounts/{account}")
    assert status == 200
    return int(found["balance"])


def test_the_first_start_prints_a_curl_line_that_moves_money(tmp_path: Path, port: int) -> None:
    folder = tmp_path / "with a space" / "data"
    try:
        with Up(folder, port) as up:
            line = up.read_until(b"curl ")
            started = descendants(up)
            assert f"http://127.0.0.1:{port}/docs" in up.stdout.decode()
            up.wait_until_said("Started Valkey at unix:///")
            assert "  Cache    unix:///" in up.stdout.decode()
            first, second = json.loads(shell(line)), json.loads(shell(line))
            assert first == second
            assert [entry["balance"] for entry in first["entries"]] == ["998750", "51250"]
            assert up.end(signal.SIGTERM) == 0
        assert b"Traceback" not in up.stderr
        assert gone(started)
        for secret in ("api_key", "tallystick.toml", "owner.toml", "api.log", "shell", "webhook_keys"):
            assert stat.S_IMODE((folder / secret).stat().st_mode) == 0o600
        assert not (folder / "running").exists()
        assert "owner_dsn" not in (folder / "tallystick.toml").read_text()
    finally:
        remove(folder)


def test_json_is_one_line_and_a_later_start_has_the_same_key_and_accounts(data: Path, port: int) -> None:
    with Up(data, port, "--json") as up:
        first = up.ready()
        assert first["url"] == f"http://127.0.0.1:{port}"
        counted = metrics_at(urlsplit(first["metrics"]).port or 0)
        assert any(line.startswith("tallystick_shard_up{") for line in counted)
        assert call(first, "GET", "/metrics")[0] == 404
        assert up.end() == 0
        assert up.stdout.count(b"\n") == 1
    with Up(data, port, "--json") as up:
        changing = {"pid": 0, "cache": "", "metrics": ""}
        assert {**up.ready(), **changing} == {**first, **changing}
        assert call(first, "GET", f"/v1/accounts/{first['accounts']['alice']}")[0] == 200
        assert up.end() == 0


def test_a_valkey_that_is_killed_is_started_again_and_balances_are_answered_all_the_time(
    data: Path, port: int
) -> None:
    with Up(data, port, "--json") as up:
        ready = up.ready()
        assert ready["cache"].startswith("unix:///")
        up.wait_until_said(f"Started Valkey at {ready['cache']}")
        path = f"/v1/accounts/{ready['accounts']['alice']}/balance"
        status, before = call(ready, "GET", path)
        assert status == 200
        wait_for(lambda: call(ready, "GET", path)[1]["source"] == "cache", "it comes from the cache")
        (valkey,) = valkeys(up)
        valkey.kill()
        killed_at = time.monotonic()
        sources = set()
        while "cache" not in sources or not valkeys(up):
            status, found = call(ready, "GET", path)
            assert (status, found["balance"]) == (200, before["balance"])
            if "database" in sources or found["source"] == "database":
                sources.add(found["source"])
            assert time.monotonic() < killed_at + CACHED_AGAIN_SECONDS_MAX, sources
        (again,) = valkeys(up)
        assert again.pid != valkey.pid
        up.wait_until_said("Valkey ended by itself: balances are read from PostgreSQL")
        up.wait_until_said(f"Started Valkey again at {ready['cache']}")
        assert up.end() == 0
    assert gone([again.pid])
    assert b"Traceback" not in up.stderr


def valkeys(up: Up) -> list[psutil.Process]:
    return [
        process
        for process in psutil.Process(up.process.pid).children(recursive=True)
        if process.name() == "valkey-server"
    ]


def test_a_taken_port_is_said_and_the_next_one_taken_and_that_there_is_no_cache(
    data: Path, port: int
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        with Up(data, port, "--json", "--no-cache") as up:
            ready = up.ready()
            assert ready["url"] != f"http://127.0.0.1:{port}"
            assert call(ready, "GET", "/readyz")[0] == 200
            assert ready["cache"] is None
            assert valkeys(up) == []
            assert up.end() == 0
            assert f"Port {port} is taken".encode() in up.stderr
            assert b"Valkey" not in up.stderr


def test_a_folder_in_use_is_refused_and_ctrl_c_reaches_the_group_and_stops_in_order(
    data: Path, port: int
) -> None:
    with Up(data, port, "--json") as up:
        up.ready()
        refused = run("up", "--data", str(data), "--port", str(port))
        assert refused.returncode == 1
        assert refused.stdout == ""
        assert refused.stderr.count("\n") == 1
        assert f"already in use by process {up.process.pid}" in refused.stderr
        started = descendants(up)
        assert up.end(signal.SIGINT, group=True) == 0
        said = up.stderr.decode()
        assert said.index("Stopping the API") < said.index("Stopping PostgreSQL")
        assert "Traceback" not in said
        assert gone(started)


def test_a_signal_while_it_starts_stops_it_too(data: Path, port: int) -> None:
    with Up(data, port, "--json") as up:
        assert up.process.stderr is not None
        up.stderr += up.process.stderr.readline()  # "Starting PostgreSQL"
        assert up.end(signal.SIGTERM) == 0
        assert b"Traceback" not in up.stderr
    assert not any(server.running() for server in servers(data))


def test_after_kill_9_nothing_outlives_it_and_nothing_acknowledged_is_missing(data: Path, port: int) -> None:
    with Up(data, port, "--json") as up:
        ready = up.ready()
        alice, bob = ready["accounts"]["alice"], ready["accounts"]["bob"]
        before = balance(ready, alice)
        body = {"source": alice, "destination": bob, "amount": "7", "asset": "USD"}
        answers = [call(ready, "POST", "/v1/transfers", body, key=f"{port} {i}") for i in range(5)]
        assert {status for status, _ in answers} == {201}
        api = [pid for pid in descendants(up) if "serve" in psutil.Process(pid).cmdline()]
        assert len(api) == 2  # the server and its worker
        assert up.end(signal.SIGKILL) == -signal.SIGKILL
    assert (data / "running").exists()
    with Up(data, port, "--json") as up:
        again = up.ready()
        assert again["url"] == ready["url"]
        assert gone(api, timeout_seconds=PORT_WAIT_SECONDS)
        assert balance(again, alice) == before - 5 * 7
        assert call(again, "POST", "/v1/transfers", body, key=f"{port} 4")[1] == answers[4][1]
        assert balance(again, alice) == before - 5 * 7


def api_processes(up: Up) -> list[int]:
    """The process that manages the workers, and then the workers."""
    return [pid for pid in descendants(up) if "serve" in psutil.Process(pid).cmdline()]


def test_an_api_that_is_killed_is_started_again_and_payments_go_on(data: Path, port: int) -> None:
    with Up(data, port, "--json") as up:
        ready = up.ready()
        alice, bob = ready["accounts"]["alice"], ready["accounts"]["bob"]
        before = balance(ready, alice)
        body = {"source": alice, "destination": bob, "amount": "1", "asset": "USD"}
        for number in range(2):
            first = call(ready, "POST", "/v1/transfers", body, key=f"killed {port} {number}")
            assert first[0] == 201
            killed = api_processes(up)
            assert len(killed) == 2
            # A worker that cannot stop by itself: the process that starts the next one has to end it.
            os.kill(killed[1], signal.SIGSTOP)
            os.kill(killed[0], signal.SIGKILL)
            up.wait_until_said(f"the API ended by itself (SIGKILL): {AGAIN[number]}")
            up.wait_until_said(f"The API serves again at {ready['url']}", times=number + 1)
            assert gone(killed)
            wait_for(lambda: len(api_processes(up)) == 2, "there are a new one and its worker")
            wait_for(lambda: call(ready, "GET", "/readyz?all")[0] == 200, "it can serve again")
            assert call(ready, "POST", "/v1/transfers", body, key=f"killed {port} {number}") == first
            assert balance(ready, alice) == before - number - 1
        assert up.process.poll() is None
        started = descendants(up)
        assert up.end() == 0
    assert gone(started)
    assert b"Traceback" not in up.stderr


def test_an_api_that_never_comes_to_serve_ends_everything_with_the_tail_of_its_log(
    data: Path, port: int
) -> None:
    with Up(data, port, "--json") as up:
        path = Path(up.ready()["config"])
        started = descendants(up)
        right = path.read_text(encoding="utf-8")
        try:
            path.write_text("nonsense", encoding="utf-8")
            os.kill(api_processes(up)[0], signal.SIGKILL)
            assert up.wait() == 1
        finally:
            path.write_text(right, encoding="utf-8")
    said = up.stderr.decode()
    times = limits.API_STARTS_IN_VAIN_MAX
    assert said.count("the API is started again") == times
    assert f"error: the API ended by itself (status 1), and so {times} times in a row" in said
    assert f"  error: {path}: " in said
    assert "Traceback" not in said
    assert gone(started)


def test_a_revoked_or_lost_key_is_replaced(data: Path, port: int) -> None:
    with Up(data, port, "--json") as up:
        old = up.ready()
        identifier = old["api_key"].split("_")[1]
        revoked = run("keys", "revoke", identifier, "--config", old["config"])
        assert revoked.returncode == 0
    with Up(data, port, "--json") as up:
        new = up.ready()
        assert new["api_key"] != old["api_key"]
        alice = f"/v1/accounts/{new['accounts']['alice']}"
        assert call(new, "GET", alice)[0] == 200
        assert call({**new, "api_key": old["api_key"]}, "GET", alice)[0] == 401


def test_bad_places_and_ports_are_one_line(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for arguments, status, words in (
        (["--data", str(file)], 1, "choose another with --data"),
        (["--data", str(file / "below")], 1, "choose another with --data"),
        (["--port", "0"], 2, "tallystick up --help"),
        (["--port", "many"], 2, "tallystick up --help"),
    ):
        done = run("up", *arguments)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (status, "", 1)
        assert done.stderr.startswith("error: ")
        assert words in done.stderr
