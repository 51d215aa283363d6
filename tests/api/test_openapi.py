"""The description of the API is valid, complete and true."""

import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jsonschema_rs
import pytest
import schemathesis

from tests.api.books import Books
from tests.api.client import PROBLEM_TYPE, Answer, Client, new_key
from tests.api.server import Server
from tests.whole import WHOLE

EXAMPLES_PER_OPERATION = 12 if WHOLE else 6
FUZZING_SECONDS_MAX = 300.0
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "ignored_auth",
)

# Design, section 11, without proof and checkpoints.
ROUTES = {
    "POST /v1/accounts",
    "GET /v1/accounts",
    "GET /v1/accounts/{identifier}",
    "PATCH /v1/accounts/{identifier}",
    "GET /v1/accounts/{identifier}/balance",
    "GET /v1/accounts/{identifier}/entries",
    "GET /v1/accounts/{identifier}/statement",
    "GET /v1/reports/trial-balance",
    "GET /v1/reports/balances",
    "POST /v1/balances",
    "GET /v1/system-owners/{identifier}/balances",
    "POST /v1/transfers",
    "POST /v1/transactions",
    "POST /v1/transfers/batch",
    "POST /v1/holds",
    "GET /v1/holds/{identifier}",
    "POST /v1/holds/{identifier}/capture",
    "POST /v1/holds/{identifier}/void",
    "POST /v1/transactions/{identifier}/reverse",
    "GET /v1/transactions/{identifier}",
    "GET /v1/events",
    "GET /v1/assets",
    "GET /v1/assets/{identifier}",
    "POST /v1/assets",
    "POST /v1/webhooks",
    "GET /v1/webhooks",
    "GET /v1/webhooks/{identifier}",
    "PATCH /v1/webhooks/{identifier}",
    "DELETE /v1/webhooks/{identifier}",
    "POST /v1/webhooks/{identifier}/rotate",
    "POST /v1/webhooks/{identifier}/test",
    "POST /v1/webhooks/{identifier}/replay",
    "POST /v1/api-keys",
    "GET /v1/api-keys",
    "GET /v1/api-keys/{identifier}",
    "PATCH /v1/api-keys/{identifier}",
    "DELETE /v1/api-keys/{identifier}",
    "POST /v1/api-keys/{identifier}/rotate",
    "GET /healthz",
    "GET /readyz",
}


@pytest.fixture(scope="module")
def document(server: Server) -> dict[str, Any]:
    with Client(server.url, None) as nobody:
        answer = nobody.get("/openapi.json")
    assert answer.content_type == "application/json"
    found: dict[str, Any] = answer.ok().json
    return found


def operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        f"{method.upper()} {path}": operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def check(document: dict[str, Any], schema: dict[str, Any], value: object) -> None:
    """Validate a value against one of the document's schemas, formats included."""
    whole = {**schema, "components": document["components"]}
    jsonschema_rs.Draft202012Validator(whole, validate_formats=True).validate(value)


def test_the_document_is_valid(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1.")
    schemathesis.openapi.from_dict(document).validate()
    for schema in document["components"]["schemas"].values():
        jsonschema_rs.meta.validate(schema)


def test_a_document_that_is_not_valid_is_noticed(document: dict[str, Any]) -> None:
    broken = json.loads(json.dumps(document))
    broken["paths"]["/v1/accounts"]["post"]["responses"] = []
    with pytest.raises(jsonschema_rs.ValidationError):
        schemathesis.openapi.from_dict(broken).validate()


def test_every_call_is_in_it(document: dict[str, Any]) -> None:
    assert set(operations(document)) == ROUTES


def test_every_call_has_a_name_of_its_own(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for operation in operations(document).values()]
    assert len(names) == len(set(names))


def test_only_what_the_ledger_may_refuse_is_said_to_be_refused(document: dict[str, Any]) -> None:
    refused = {name for name, operation in operations(document).items() if "422" in operation["responses"]}
    assert refused == {
        "POST /v1/accounts",
        "PATCH /v1/accounts/{identifier}",
        "POST /v1/transfers",
        "POST /v1/transactions",
        "POST /v1/transactions/{identifier}/reverse",
        "POST /v1/holds",
        "POST /v1/holds/{identifier}/capture",
        "POST /v1/holds/{identifier}/void",
        # Only a key of another request.
        "POST /v1/assets",
        "POST /v1/webhooks",
        "PATCH /v1/webhooks/{identifier}",
        "DELETE /v1/webhooks/{identifier}",
        "POST /v1/webhooks/{identifier}/rotate",
        "POST /v1/webhooks/{identifier}/test",
        "POST /v1/webhooks/{identifier}/replay",
    }


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    text = json.dumps(document)
    names = set(re.findall(r'"#/components/schemas/([^"]*)"', text))
    assert names
    assert names <= set(document["components"]["schemas"])
    assert text.count('"$ref"') == len(re.findall(r'"\$ref": "#/components/schemas/', text))


def test_what_changes_something_asks_for_a_key(document: dict[str, Any]) -> None:
    asking = {
        name
        for name, operation in operations(document).items()
        for parameter in operation.get("parameters", [])
        if parameter["name"] == "Idempotency-Key" and parameter["required"]
    }
    assert asking == {
        "POST /v1/accounts",
        "PATCH /v1/accounts/{identifier}",
        "POST /v1/transfers",
        "POST /v1/transactions",
        "POST /v1/holds",
        "POST /v1/holds/{identifier}/capture",
        "POST /v1/holds/{identifier}/void",
        "POST /v1/transactions/{identifier}/reverse",
    }


def test_every_parameter_says_what_it_is(document: dict[str, Any]) -> None:
    """Beside its schema, where readers of the document look for it; what is required has an example that fits."""
    for name, operation in operations(document).items():
        for parameter in operation.get("parameters", []):
            assert parameter["description"], (name, parameter["name"])
            assert "description" not in parameter["schema"], (name, parameter["name"])
            if parameter.get("required"):
                examples = parameter["schema"].get("examples", [parameter.get("example", "@fees")])
                validator(document, parameter["schema"]).validate(examples[0])


def test_every_field_shows_what_it_looks_like(document: dict[str, Any]) -> None:
    for name, schema in document["components"]["schemas"].items():
        for field, found in schema.get("properties", {}).items():
            for example in found.get("examples", []):
                validator(document, found).validate(example)
                assert example != "string"
            if "examples" not in found:
                # What it looks like follows from what it refers to, or is one of its words.
                assert re.search(r'"(\$ref|enum|examples)":|"boolean"', json.dumps(found)), (name, field)


def test_examples_look_like_real_answers(document: dict[str, Any], books: Books) -> None:
    books.open("""
        alice  USD  100
        shop   USD    0
    """)
    real = books.transfer("alice", "shop", 10).ok().json
    shown = document["components"]["schemas"]["Transaction"]["properties"]
    for field in ("recorded_at", "effective_at"):
        assert shape(shown[field]["examples"][0]) == shape(real[field])
    assert shown["id"]["examples"][0][:4] == real["id"][:4]


def shape(text: str) -> str:
    """What a text looks like: a digit is as good as another."""
    return re.sub("[0-9]", "0", text)


def validator(document: dict[str, Any], schema: dict[str, Any]) -> Any:
    """Judges values by a part of the document."""
    return jsonschema_rs.validator_for({**schema, "components": document["components"]})


def test_only_health_is_open(document: dict[str, Any]) -> None:
    assert document["security"] == [{"apiKey": []}]
    scheme = document["components"]["securitySchemes"]["apiKey"]
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    opened = {name for name, operation in operations(document).items() if operation.get("security") == []}
    assert opened == {"GET /healthz", "GET /readyz"}


@pytest.fixture(scope="module")
def calls(client: Client) -> Callable[[], Iterator[tuple[str, object, Answer]]]:
    """Every call of the API once: its route, its body, its answer."""

    def run() -> Iterator[tuple[str, object, Answer]]:
        books = Books(client)
        books.open("""
            alice  USD  1000
            bob    USD     0
        """)
        alice = f"/v1/accounts/{books['alice']}"
        note = {"description": "a note", "metadata": {"a": "b"}, "effective_at": "2020-01-01T00:00:00Z"}
        transfer = {**books.payment("alice", "bob", 10), **note}

        def done(route: str, path: str, body: object = None, **query: Any) -> tuple[str, object, Answer]:
            method, _ = route.split()
            if method == "GET":
                return route, body, client.get(path, **query).ok()
            return route, body, client.send(method, path, body, key=new_key()).ok()

        account = {
            "owner": books.owner,
            "asset": "USD",
            "min_balance": -5,
            "max_balance": "5",
            "metadata": {},
        }
        yield done("POST /v1/accounts", "/v1/accounts", account)
        yield done("GET /v1/accounts", "/v1/accounts", owner=books.owner, limit=1)
        yield done("GET /v1/accounts/{identifier}", alice)
        yield done("PATCH /v1/accounts/{identifier}", alice, {"status": "open", "max_balance": None})
        yield done("GET /v1/accounts/{identifier}/balance", f"{alice}/balance", at="2020-01-01T00:00:00Z")
        yield done(
            "GET /v1/accounts/{identifier}/balance", f"{alice}/balance", effective_at="2020-01-01T00:00:00Z"
        )
        posted = done("POST /v1/transfers", "/v1/transfers", transfer)
        yield posted
        entries = [
            {"account": books["alice"], "amount": -2},
            {"account": books["bob"], "amount": "1"},
            {"account": "@fees", "amount": "1", "asset": "USD"},
        ]
        yield done("POST /v1/transactions", "/v1/transactions", {"entries": entries, **note})
        path = "/v1/system-owners/@fees/balances"
        yield done("GET /v1/system-owners/{identifier}/balances", path)
        transfers = [
            {**transfer, "idempotency_key": new_key()},
            {**transfer, "amount": 10**9, "idempotency_key": new_key()},
        ]
        yield done(
            "POST /v1/transfers/batch", "/v1/transfers/batch", {"transfers": transfers, "atomic": False}
        )
        hold = done("POST /v1/holds", "/v1/holds", {**transfer, "expires_in": 3600})
        yield hold
        path = f"/v1/holds/{hold[2]['id']}"
        yield done("GET /v1/holds/{identifier}", path)
        capture = {"amount": "5", "final": False, **note}
        yield done("POST /v1/holds/{identifier}/capture", f"{path}/capture", capture)
        yield done("POST /v1/holds/{identifier}/void", f"{path}/void", note)
        path = f"/v1/transactions/{posted[2]['id']}"
        yield done("POST /v1/transactions/{identifier}/reverse", f"{path}/reverse", {"amount": 1, **note})
        yield done("GET /v1/transactions/{identifier}", path)
        yield done("POST /v1/balances", "/v1/balances", {"accounts": [books["alice"]], "consistency": "fast"})
        yield done("GET /v1/accounts/{identifier}/entries", f"{alice}/entries", limit=3)
        period = {"since": "2025-01-01T00:00:00Z", "until": "2026-01-01T00:00:00Z"}
        yield done("GET /v1/accounts/{identifier}/statement", f"{alice}/statement", **period)
        yield done("GET /v1/reports/trial-balance", "/v1/reports/trial-balance")
        yield done("GET /v1/reports/balances", "/v1/reports/balances", by="owner", limit=3)
        yield done("GET /v1/events", "/v1/events", account=books["alice"])
        yield done("GET /v1/assets", "/v1/assets")
        asset = {"code": f"T{new_key()[:8].upper()}", "scale": 2, "name": "Points"}
        yield done("POST /v1/assets", "/v1/assets", asset)
        yield done("GET /v1/assets/{identifier}", "/v1/assets/USD")
        yield from webhook_calls(done)
        yield from key_calls(done)
        yield done("GET /healthz", "/healthz")
        yield done("GET /readyz", "/readyz")

    return run


def webhook_calls(
    done: Callable[..., tuple[str, object, Answer]],
) -> Iterator[tuple[str, object, Answer]]:
    """Every call about webhooks once."""
    wanted = {"url": "https://93.184.215.14:9/hook", "kinds": ["transfer"], "owner": "alice"}
    made = done("POST /v1/webhooks", "/v1/webhooks", wanted)
    yield made
    yield done("GET /v1/webhooks", "/v1/webhooks")
    path, route = f"/v1/webhooks/{made[2]['webhook']['id']}", "/v1/webhooks/{identifier}"
    yield done(f"GET {route}", path)
    yield done(f"PATCH {route}", path, {"state": "paused", "owner": None})
    yield done(f"POST {route}/rotate", f"{path}/rotate", {"overlap_seconds": 60})
    yield done(f"POST {route}/replay", f"{path}/replay", {"shard": 1, "position": 1})
    # Nobody listens there: what is told is how it failed.
    yield done(f"POST {route}/test", f"{path}/test")
    yield done(f"DELETE {route}", path)


def key_calls(
    done: Callable[..., tuple[str, object, Answer]],
) -> Iterator[tuple[str, object, Answer]]:
    """Every call about API keys once."""
    wanted = {"name": "till", "scopes": ["read", "post"], "networks": ["192.0.2.0/24"]}
    made = done("POST /v1/api-keys", "/v1/api-keys", {**wanted, "expires_at": "2199-01-01T00:00:00Z"})
    yield made
    yield done("GET /v1/api-keys", "/v1/api-keys", limit=2)
    path, route = f"/v1/api-keys/{made[2]['api_key']['id']}", "/v1/api-keys/{identifier}"
    yield done(f"GET {route}", path)
    yield done(f"PATCH {route}", path, {"name": "another", "expires_at": None})
    yield done(f"POST {route}/rotate", f"{path}/rotate", {"overlap_seconds": 60})
    yield done(f"DELETE {route}", path)


def test_real_calls_are_as_described(
    document: dict[str, Any], calls: Callable[[], Iterator[tuple[str, object, Answer]]]
) -> None:
    described = operations(document)
    seen = set()
    for route, body, answer in calls():
        seen.add(route)
        operation = described[route]
        if body is not None:
            check(document, operation["requestBody"]["content"]["application/json"]["schema"], body)
        content = operation["responses"][str(answer.status)]["content"]
        check(document, content[answer.content_type]["schema"], answer.json)
    assert seen == ROUTES


def test_real_problems_are_as_described(document: dict[str, Any], client: Client, books: Books) -> None:
    books.open("""
        alice  USD  0
        bob    USD  0
    """)
    described = operations(document)["POST /v1/transfers"]["responses"]
    path, payment = "/v1/transfers", books.payment("alice", "bob", 1)
    headers = {"Idempotency-Key": "a", "Content-Type": "application/json"}
    with Client(client.url, None) as nobody:
        unauthorised = nobody.post(path, payment)
    for status, answer in {
        422: client.post(path, payment),
        400: client.send("POST", path, payment),
        401: unauthorised,
        413: client.request("POST", path, content=b" " * 2**21, headers=headers),
        415: client.request("POST", path, content=b"a", headers={**headers, "Content-Type": "text/csv"}),
    }.items():
        assert answer.status == status
        assert answer.content_type == PROBLEM_TYPE
        check(document, described[str(status)]["content"][PROBLEM_TYPE]["schema"], answer.json)


def test_the_page_needs_nothing_from_outside(server: Server) -> None:
    with Client(server.url, None) as nobody:
        page = nobody.get("/docs")
        assert page.content_type.startswith("text/html")
        text = page.ok().body.decode()
        loaded = re.findall(r'(?:src|href)="([^"]*)"', text) + re.findall(r'url: "([^"]*)"', text)
        assert len(loaded) >= 3
        for address in loaded:
            assert not urlsplit(address).netloc
            if not address.startswith("data:"):
                assert nobody.get(address).status == 200
        assert "//" not in text
        styles = nobody.get("/docs/swagger-ui.css").ok().body.decode()
        assert not re.search(r"@import|url\(\s*[\"']?(?:https?:)?//", styles)


def test_it_is_served_as_it_says(server: Server) -> None:
    with Client(server.url, None) as nobody:
        for path, content_type in {
            "/healthz": "application/json",
            "/docs/swagger-ui.css": "text/css",
            "/docs/swagger-ui-bundle.js": "text/javascript",
        }.items():
            assert nobody.get(path).content_type.startswith(content_type)


@pytest.mark.parametrize(
    ("phases", "checks"),
    [
        # Every bound of the document, from both sides: what is outside must be refused.
        ("examples,coverage", (*CHECKS, "negative_data_rejection")),
        ("fuzzing", CHECKS),
    ],
)
def test_fuzzing_from_the_document(
    client: Client, tmp_path: Path, capsys: pytest.CaptureFixture[str], phases: str, checks: tuple[str, ...]
) -> None:
    """Schemathesis draws requests from the document, right and wrong ones: no answer is other than described."""
    books = Books(client)
    books.open("""
        alice  USD  1000000
        bob    USD     1000
        purse  USD      100  max 1000
    """)
    known = {
        "acct": [books["alice"], books["bob"], books["purse"]],
        "hold": [books.hold("alice", "bob", 1000).ok()["id"] for _ in range(5)],
        "txn": [books.transfer("alice", "bob", 1000).ok()["id"] for _ in range(5)],
    }
    seed = os.environ.get("TALLYSTICK_TEST_SEED") or str(random.randrange(2**32))
    with capsys.disabled():
        print(f"\nschemathesis: TALLYSTICK_TEST_SEED={seed}")  # noqa: T201 - to run it again
    command = [
        *(sys.executable, "-P", "-m", "schemathesis.cli", "run", f"{client.url}/openapi.json"),
        *("--header", f"Authorization: Bearer {client.api_key}"),
        *("--phases", phases),
        *("--checks", ",".join(checks)),
        *("--max-examples", str(EXAMPLES_PER_OPERATION)),
        # What is slow is this machine.
        *("--suppress-health-check", "too_slow", "--request-timeout", "60"),
        *("--seed", seed, "--no-color"),
    ]
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "SCHEMATHESIS_HOOKS": "tests.api.schemathesis_hooks",
        "TALLYSTICK_KNOWN": json.dumps(known),
    }
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=FUZZING_SECONDS_MAX,
        check=False,
    )
    assert done.returncode == 0, f"seed {seed}\n{done.stdout}\n{done.stderr}"
    generated = re.search(r"(\d+) generated", done.stdout)
    assert generated, done.stdout
    assert int(generated[1]) > 100
