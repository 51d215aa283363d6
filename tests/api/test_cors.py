"""Cross-origin requests: off, unless the configuration names origins."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.api.client import Answer, Client
from tests.api.server import Installation, Server

ORIGIN = "https://app.example"
PREFLIGHT = {
    "Origin": ORIGIN,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,content-type,idempotency-key",
}


class _Served:
    """The installation with one more line in its configuration."""

    def __init__(self, installation: Installation, folder: Path, line: str) -> None:
        self.folder = folder
        self.configuration_path = folder / "cors.toml"
        content = installation.configuration_path.read_text(encoding="utf-8")
        self.configuration_path.write_text(f"{line}\n{content}", encoding="utf-8")
        self.configuration_path.chmod(0o600)


@pytest.fixture(scope="module", params=[f'["{ORIGIN}", "http://localhost:3000"]', '["*"]'])
def open_to(
    request: pytest.FixtureRequest,
    installation: Installation,
    client: Client,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[str, Client]]:
    """A server that other origins may ask."""
    line = f"cors_allowed_origins = {request.param}"
    served = _Served(installation, tmp_path_factory.mktemp("cors"), line)
    with Server(served, "cors") as running, Client(running.url, client.api_key) as caller:
        yield "*" if "*" in request.param else ORIGIN, caller


def cors_headers(answer: Answer) -> Mapping[str, str]:
    return {name: value for name, value in answer.headers.items() if name.startswith("access-control-")}


def test_it_is_off(client: Client) -> None:
    for method in ("GET", "OPTIONS"):
        answer = client.request(method, "/v1/assets", headers=PREFLIGHT)
        assert (answer.status, cors_headers(answer)) == (200, {})


def test_a_preflight_needs_no_key(open_to: tuple[str, Client]) -> None:
    allowed, caller = open_to
    with Client(caller.url, None) as nobody_known:
        answer = nobody_known.request("OPTIONS", "/v1/transfers", headers=PREFLIGHT)
    assert answer.status == 200
    found = cors_headers(answer)
    assert found["access-control-allow-origin"] == allowed
    assert "POST" in found["access-control-allow-methods"]
    assert found["access-control-allow-headers"] == PREFLIGHT["Access-Control-Request-Headers"]
    assert "access-control-allow-credentials" not in found


def test_answers_show_their_headers(open_to: tuple[str, Client]) -> None:
    allowed, caller = open_to
    for path, status in (("/v1/assets", 200), ("/v1/nothing", 404), ("/v1/accounts/x", 400)):
        answer = caller.request("GET", path, headers={"Origin": ORIGIN})
        assert (answer.status, answer.headers["access-control-allow-origin"]) == (status, allowed)
        exposed = answer.headers["access-control-expose-headers"].lower().split(", ")
        assert {"location", "etag", "x-request-id", "idempotency-replayed", "retry-after"} <= set(exposed)
        assert ("origin" in answer.headers.get("vary", "").lower()) == (allowed != "*")
    with Client(caller.url, "tally_wrong") as wrong:
        unauthorized = wrong.request("GET", "/v1/assets", headers={"Origin": ORIGIN})
        assert (unauthorized.status, unauthorized.headers["access-control-allow-origin"]) == (401, allowed)


def test_another_origin(open_to: tuple[str, Client]) -> None:
    allowed, caller = open_to
    for origin in ("https://evil.example", "https://app.example.evil.example", "http://app.example", "null"):
        for method in ("GET", "OPTIONS"):
            answer = caller.request(method, "/v1/assets", headers={**PREFLIGHT, "Origin": origin})
            assert ("access-control-allow-origin" in answer.headers) == (allowed == "*")
    without = caller.request("GET", "/v1/assets")
    assert cors_headers(without) == {}
