"""The operators' port: what a server counts is told there, to no tenant, and of each worker apart."""

import socket
import subprocess
import sys
import time
from http import HTTPStatus

import psutil
import pytest

from tests.api.books import Books
from tests.api.client import Client
from tests.api.server import HOST, Installation, Server
from tests.metrics import metrics, metrics_at
from tests.ports import own_port, own_ports

FOUND_SECONDS_MAX = 60.0


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
        for path in ("/v1/assets", "/docs", "/openapi.json", "/healthz"):
            assert b"tallystick_shard_up{" in caller.request("GET", path).body
    assert any(line.startswith("tallystick_shard_up{") for line in metrics(server))


def test_a_scraper_that_says_nothing_does_not_keep_others_out(server: Server) -> None:
    with socket.create_connection((HOST, server.metrics_port)) as silent:
        silent.sendall(b"GET /metr")
        assert metrics(server)


def test_each_worker_has_a_port_and_one_in_its_place_takes_it(
    books: Books, installation: Installation
) -> None:
    books.open("alice USD 1000\n bob USD 0")
    ports = own_ports(2)
    with Server(installation, "two workers", "--workers", "2", "--metrics-port", str(ports[0])) as server:
        until_each_is_ready(server)
        before = posted(ports)
        for _ in range(20):
            with Client(server.url, books.client.api_key) as caller:
                caller.post("/v1/transfers", books.payment("alice", "bob", 1)).ok()
        counted = {port: posted([port]) for port in ports}
        assert sum(counted.values()) == before + 20, counted
        (parent,) = [one for one in psutil.Process().children() if str(ports[0]) in one.cmdline()]
        workers = [one for one in parent.children() if listens(one, ports)]
        assert len(workers) == 2
        workers[0].kill()
        deadline = time.monotonic() + FOUND_SECONDS_MAX
        while {one for one in parent.children() if listens(one, ports)} <= set(workers):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        for port in ports:
            assert metrics_at(port)


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


def until_each_is_ready(server: Server) -> None:
    """Wait until a worker that has just started is not met any more: connections are given to any of them."""
    deadline = time.monotonic() + FOUND_SECONDS_MAX
    answered = 0
    while answered < 20:
        assert time.monotonic() < deadline
        with Client(server.url, None) as caller:
            ready = caller.get("/readyz?all").status == HTTPStatus.OK
        answered = answered + 1 if ready else 0


def posted(ports: range | list[int]) -> float:
    """How many commands the workers of these ports say that they posted."""
    start = 'tallystick_outcomes_total{outcome="posted"'
    lines = [line for port in ports for line in metrics_at(port)]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(start))


def listens(process: psutil.Process, ports: range) -> bool:
    try:
        found = process.net_connections()
    except psutil.Error:  # it has ended, and its parent has not noticed yet
        return False
    return any(one.status == psutil.CONN_LISTEN and one.laddr.port in ports for one in found)
