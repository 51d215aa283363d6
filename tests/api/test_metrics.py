"""The operators' port: what a server counts is told there, to no tenant, and of all workers together."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress

import psutil
import pytest

from tests.api.books import Books
from tests.api.client import Client
from tests.api.server import HOST, Installation, Server
from tests.lives import lives
from tests.metrics import metric, metrics
from tests.ports import own_port
from tests.waiting import wait_for

FOUND_SECONDS_MAX = 60.0
SCRAPES = 8


@pytest.mark.parametrize("path", [b"/metrics", b"/metrics/", b"//metrics", b"/%6detrics", b"/v1/metrics"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_no_key_opens_it_at_the_port_of_tenants(client: Client, method: str, path: bytes) -> None:
    answer = client.raw_request(method, path)
    assert answer.status == 404
    assert b"tallystick_" not in answer.body


def test_an_unknown_path_is_told_the_same_way(client: Client) -> None:
    assert client.get("/metrics").refused() == client.get("/nothing").refused()
    assert (
        client.get("/metrics").json["detail"].replace("/metrics", "/nothing")
        == client.get("/nothing")["detail"]
    )
    assert "/metrics" not in client.get("/openapi.json")["paths"]


def test_the_operators_port_serves_nothing_else(server: Server) -> None:
    with Client(f"http://{HOST}:{server.metrics_port}", None) as caller:
        assert caller.request("POST", "/v1/transfers").status == 405
        for path in ("/v1/assets", "/docs", "/openapi.json", "/healthz/x"):
            assert b"tallystick_shard_up{" in caller.request("GET", path).body
    assert any(line.startswith("tallystick_shard_up{") for line in metrics(server))


def test_the_operators_port_says_whether_the_api_is_well(server: Server) -> None:
    with Client(f"http://{HOST}:{server.metrics_port}", None) as caller, Client(server.url, None) as api:
        for path in ("/healthz", "/readyz", "/readyz?all", "/readyz?shard=1"):
            assert caller.get(path).status == 200
            assert caller.get(path).json["status"] == api.get(path).json["status"] == "ok"
        assert caller.get("/readyz?shard=77").status == 400
        os.kill(server.pid, signal.SIGSTOP)
        workers = psutil.Process(server.pid).children()
        serving = [one for one in workers if "metrics_server" not in " ".join(one.cmdline())]
        for one in serving:
            one.suspend()
        try:
            assert caller.get("/healthz").status == caller.get("/readyz").status == 503
        finally:
            for one in serving:
                one.resume()
            os.kill(server.pid, signal.SIGCONT)


def test_a_scraper_that_says_nothing_does_not_keep_others_out(server: Server) -> None:
    with socket.create_connection((HOST, server.metrics_port)) as silent:
        silent.sendall(b"GET /metr")
        assert metrics(server)


def test_each_scrape_has_the_figures_of_all_workers_also_after_one_was_killed(
    books: Books, installation: Installation
) -> None:
    books.open("alice USD 1000\n bob USD 0")
    with Server(installation, "two workers", "--workers", "2") as server:
        killed, other = until_workers_serve(server)
        before = posted(server)
        pay(server, books, 20)
        assert [posted(server) - before for _ in range(SCRAPES)] == [20] * SCRAPES
        assert metric(server, "tallystick_shard_up", shard="1") == 1
        killed.kill()
        # Also while there is one worker, and while the next one starts.
        assert [posted(server) - before for _ in range(SCRAPES)] == [20] * SCRAPES
        assert other in until_workers_serve(server, killed)
        assert starts(server) == 3
        pay(server, books, 20)
        assert [posted(server) - before for _ in range(SCRAPES)] == [40] * SCRAPES
        assert metric(server, "tallystick_batch_commands_sum") == posted(server)
        assert metric(server, "tallystick_shard_up", shard="1") == 1
        assert len([line for line in metrics(server) if line.startswith("process_open_fds{")]) == 2


def test_what_forks_the_workers_only_waits(server: Server) -> None:
    """A thread that holds a lock during a fork leaves it taken in the worker, which then hangs some day."""
    waiting = {"main", "parent watcher", "watcher of the worker", "keeper of the metrics"}
    parent = parent_of(server)
    assert parent.num_threads() == len(waiting)
    assert [one for one in parent.net_connections() if one.status != psutil.CONN_LISTEN] == []
    assert metrics_process_of(server).num_threads() == 2


def test_a_killed_process_of_the_metrics_is_replaced(installation: Installation) -> None:
    with Server(installation, "metrics killed") as server:
        killed = metrics_process_of(server)
        killed.kill()
        # The port is never closed: this waits for the next process.
        assert metrics(server)
        assert metrics_process_of(server) != killed


def test_a_worker_that_outlives_its_server_does_not_keep_the_port_of_metrics(
    installation: Installation,
) -> None:
    with Server(installation, "all killed") as server:
        parent, serving = parent_of(server), metrics_process_of(server)
        (worker,) = set(parent.children()) - {serving}
        worker.suspend()
        try:
            parent.kill()
            wait_for(lambda: is_free(server.metrics_port), "the port is free")
            wait_for(lambda: not lives(serving.pid), "the process of the metrics ends")
        finally:
            worker.kill()


def test_no_folder_of_figures_is_left(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = installation.folder / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    with Server(installation, "killed") as server:
        assert metrics(server)
        (left,) = folder.iterdir()
        processes = [parent_of(server), *parent_of(server).children()]
        for process in processes:
            process.kill()
        wait_for(lambda: not any(lives(process.pid) for process in processes), "all have ended")
    long_ago = time.time() - 3600
    os.utime(left, (long_ago, long_ago))
    with Server(installation, "next") as server:
        assert metrics(server)
        assert left not in folder.iterdir()
    assert not list(folder.iterdir())


def test_a_taken_port_is_said(installation: Installation) -> None:
    with socket.create_server((HOST, 0)) as other:
        taken = other.getsockname()[1]
        refused = subprocess.run(
            [sys.executable, "-P", "-m", "tallystick.cli", "serve", "--port", str(own_port()),
             "--config", str(installation.configuration_path), "--metrics-port", str(taken)],
            capture_output=True, text=True, check=False, timeout=FOUND_SECONDS_MAX,
        )  # fmt: skip
    assert refused.returncode == 1
    assert f"port {taken} is taken" in refused.stderr
    assert "--metrics-port" in refused.stderr


def until_workers_serve(server: Server, *without: psutil.Process) -> list[psutil.Process]:
    """Wait until two workers listen, which they do when they are ready, and none of these others."""

    def serving() -> list[psutil.Process]:
        found = [one for one in parent_of(server).children() if listens(one, port)]
        return found if len(found) == 2 and not set(found) & set(without) else []

    port = int(server.url.rpartition(":")[2])
    wait_for(serving, "two workers serve", FOUND_SECONDS_MAX)
    return serving()


def listens(process: psutil.Process, port: int) -> bool:
    with suppress(psutil.Error):  # it has ended, and its parent has not noticed yet
        found = process.net_connections()
        return any(one.status == psutil.CONN_LISTEN and one.laddr.port == port for one in found)
    return False


def pay(server: Server, books: Books, times: int) -> None:
    """Pay over new connections, which go to either worker."""
    for _ in range(times):
        with Client(server.url, books.client.api_key) as caller:
            caller.post("/v1/transfers", books.payment("alice", "bob", 1)).ok()


def posted(server: Server) -> float:
    """How many commands the server says that it posted."""
    return metric(server, "tallystick_outcomes_total", outcome="posted")


def starts(server: Server) -> float:
    """How many workers it says that it has started."""
    return metric(server, "tallystick_process_starts_total")


def test_a_port_that_is_taken_later_is_served_when_it_is_free(installation: Installation) -> None:
    """An API server that `up` starts again serves all the same, and has its port when the old one is gone."""
    server = Server(installation, "taken")
    with socket.create_server((HOST, server.metrics_port)) as other, server:
        wait_for(lambda: "ALARM" in server.log_path.read_text(), "the alarm")
        other.close()
        wait_for(lambda: not is_free(server.metrics_port), "the port is served")
        assert metrics(server)


def is_free(port: int) -> bool:
    with suppress(OSError), socket.create_server((HOST, port)):
        return True
    return False


def metrics_process_of(server: Server) -> psutil.Process:
    """The process that serves its metrics."""
    (found,) = [
        one for one in parent_of(server).children() if "tallystick.api.metrics_server" in one.cmdline()
    ]
    return found


def parent_of(server: Server) -> psutil.Process:
    """The process that starts the workers."""
    return psutil.Process(server.pid)
