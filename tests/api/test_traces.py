"""Traces for OpenTelemetry, as a collector gets them: requests, their waits, and the batches that write them."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from tallystick.embedded.postgres import EmbeddedPostgres
from tests.api.client import Client, new_key
from tests.api.collector import Collector, Span, collecting
from tests.api.server import Installation, Server
from tests.api.streams import Stream
from tests.crash.databases import temporary_database
from tests.forked import run_forked
from tests.waiting import wait_for

SERVER_KIND = 2
OWNER = "a very secret owner"
AMOUNT = "8765432109"
# What spans may say.
ATTRIBUTES = {
    "http.request.method",
    "http.route",
    "http.response.status_code",
    "error.type",
    "tallystick.shard",
    "tallystick.commands",
    "tallystick.requests",
}


@pytest.fixture(scope="module")
def traced(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with (
        temporary_database(postgres) as database,
        closing(Installation(database, tmp_path_factory.mktemp("traces"))) as made,
    ):
        yield made


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as running:
        yield running


@pytest.fixture(scope="module")
def api_key(traced: Installation) -> str:
    return traced.make_key("traces").key


@pytest.fixture(scope="module")
def payer(traced: Installation, collector: Collector, api_key: str) -> Iterator["Payer"]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        environment.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-password=of-the-collector")
        environment.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test")
        environment.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        with Server(traced, "traced") as server, Client(server.url, api_key) as client:
            yield Payer(client)


class Payer:
    """A payer with money, whose requests can be a part of a trace."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.source = self._open(OWNER, "system")
        self.destination = self._open("payee", "wallet")

    def _open(self, owner: str, kind: str) -> str:
        body = {"owner": owner, "asset": "USD", "kind": kind}
        return str(self.client.post("/v1/accounts", body).ok()["id"])

    def pay(self, traceparent: str | None = None) -> None:
        body = {"source": self.source, "destination": self.destination, "amount": AMOUNT, "asset": "USD"}
        headers = {"Content-Type": "application/json", "Idempotency-Key": new_key()}
        if traceparent is not None:
            headers["traceparent"] = traceparent
        with self.client.another() as caller:
            caller.request("POST", "/v1/transfers", content=json.dumps(body), headers=headers).ok()


def trace_of(number: int, flags: str = "01") -> tuple[str, str, str]:
    """A trace, a span in it, and the header that names both."""
    trace, span = f"{number:032x}", f"{number:016x}"
    return trace, span, f"00-{trace}-{span}-{flags}"


def request_of(spans: list[Span]) -> Span:
    (found,) = [span for span in spans if span.kind == SERVER_KIND]
    return found


def test_a_payment(payer: Payer, collector: Collector) -> None:
    trace, parent, header = trace_of(1)
    payer.pay(traceparent=header)
    wait_for(lambda: len(collector.of(trace)) == 3, "the spans are sent")
    spans = collector.of(trace)
    request = request_of(spans)
    assert (request.name, request.parent) == ("POST /v1/transfers", parent)
    assert request.attributes == {
        "http.request.method": "POST",
        "http.route": "/v1/transfers",
        "http.response.status_code": 201,
    }
    (wait,) = [span for span in spans if span.name == "wait in the queue"]
    (batch,) = [span for span in spans if span.name == "write a batch"]
    assert wait.parent == request.id
    assert wait.attributes == {"tallystick.shard": 1, "tallystick.commands": 1}
    assert batch.attributes == {"tallystick.shard": 1, "tallystick.commands": 1, "tallystick.requests": 1}
    assert batch.links == [(trace, request.id)]
    assert wait.links == [(trace, batch.id)]
    assert request.began_ns <= wait.began_ns <= wait.ended_ns <= batch.ended_ns <= request.ended_ns
    assert not any(span.failed for span in spans)


def test_batches_are_linked_to_their_requests(payer: Payer, collector: Collector) -> None:
    traces = [trace_of(number) for number in range(100, 140)]
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda one: payer.pay(traceparent=one[2]), traces))
    names = {trace for trace, _, _ in traces}

    def waits() -> list[Span]:
        return [one for one in collector.named("wait in the queue") if one.trace in names]

    def answered() -> list[Span]:
        return [one for one in collector.named("POST /v1/transfers") if one.trace in names]

    wait_for(lambda: len(waits()) == len(answered()) == len(traces), "the spans are sent")
    requests = {trace: request_of(collector.of(trace)).id for trace in names}
    batches = {one.id: one for one in collector.named("write a batch")}
    for wait in waits():
        ((_, batch),) = wait.links
        assert (wait.trace, requests[wait.trace]) in batches[batch].links
    sizes = [len(one.links) for one in batches.values() if one.trace in names]
    assert sum(sizes) == len(traces)
    assert max(sizes) > 1


def test_who_calls_may_ask_for_no_trace(payer: Payer, collector: Collector) -> None:
    trace, _, header = trace_of(2, flags="00")
    payer.pay(traceparent=header)
    later, _, header = trace_of(3)
    payer.pay(traceparent=header)
    wait_for(lambda: len(collector.of(later)) == 3, "the spans are sent")
    assert collector.of(trace) == []


@pytest.mark.parametrize("header", ["nonsense", "00-" + "0" * 32 + "-" + "0" * 16 + "-01"])
def test_a_parent_that_is_none_begins_a_trace(payer: Payer, collector: Collector, header: str) -> None:
    before = len(collector.named("POST /v1/transfers"))
    payer.pay(traceparent=header)
    wait_for(lambda: len(collector.named("POST /v1/transfers")) > before, "the spans are sent")
    assert collector.named("POST /v1/transfers")[-1].parent == ""


def test_other_answers(payer: Payer, collector: Collector) -> None:
    traces = [trace_of(number) for number in range(10, 14)]
    paths = [
        f"/v1/accounts/{payer.source}/balance",
        "/v1/accounts/nonsense",
        "/v1/nothing/here",
        "/v1/accounts?owner=x",
    ]
    for path, (_, _, header) in zip(paths, traces, strict=True):
        payer.client.request("GET", path, headers={"traceparent": header})
    payer.client.request("GET", "/healthz", headers={"traceparent": trace_of(14)[2]})
    wait_for(lambda: collector.of(traces[-1][0]), "the spans are sent")
    found = [request_of(collector.of(trace)) for trace, _, _ in traces]
    assert [(one.name, one.attributes["http.response.status_code"]) for one in found] == [
        ("GET /v1/accounts/{identifier}/balance", 200),
        ("GET /v1/accounts/{identifier}", 400),
        ("GET", 404),
        ("GET /v1/accounts", 200),
    ]
    assert collector.of(trace_of(14)[0]) == []


def test_a_stream_is_traced_until_it_begins(payer: Payer, collector: Collector) -> None:
    with Stream(payer.client, "/v1/events").opened():
        wait_for(lambda: collector.named("GET /v1/events"), "the span is sent while the stream goes on")


def test_nothing_that_a_request_says_is_sent(payer: Payer, collector: Collector, api_key: str) -> None:
    """After the tests above have made spans of every kind."""
    trace, _, header = trace_of(30)
    payer.pay(traceparent=header)
    wait_for(lambda: len(collector.of(trace)) == 3, "the spans are sent")
    assert set().union(*(span.attributes for span in collector.spans)) <= ATTRIBUTES
    said = b"".join(collector.bodies)
    for secret in (OWNER, AMOUNT, api_key, payer.source, payer.destination, "of-the-collector"):
        assert secret.encode() not in said
    assert collector.resource["service.name"] == "tallystick"
    assert collector.resource["deployment.environment"] == "test"
    assert {headers["x-password"] for headers in collector.headers} == {"of-the-collector"}


def test_the_last_spans_are_sent_when_a_server_stops(
    traced: Installation, api_key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"{collector.url}/v1/traces")
        monkeypatch.setenv("OTEL_SERVICE_NAME", "ledger of a test")
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "600000")
        with Server(traced, "stops") as server, Client(server.url, api_key) as client:
            Payer(client).pay()
            assert collector.spans == []
        assert len(collector.named("POST /v1/transfers")) == 1
        assert collector.resource["service.name"] == "ledger of a test"


def test_a_collector_that_hangs_holds_nothing_up(
    traced: Installation, api_key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with collecting() as collector:
        collector.hangs.set()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
        with Server(traced, "hangs") as server, Client(server.url, api_key) as client:
            payer = Payer(client)
            for _ in range(20):
                payer.pay()
            stopping_at = time.monotonic()
        assert time.monotonic() - stopping_at < 10
        assert collector.bodies == []


def test_a_server_that_cannot_trace_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "zipkin")
    done = run_forked(["serve", "--config", str(tmp_path / "none.toml")], timeout=60)
    assert (done.returncode, done.stderr) == (
        1,
        "error: OTEL_TRACES_EXPORTER is 'zipkin': expected otlp or none\n",
    )
