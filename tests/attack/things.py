"""What a tenant has, and every call of the API on it: the table from which attacks on other tenants are made."""

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tallystick.service.cursor import write_text_cursor
from tests.api import absent
from tests.api.books import Books
from tests.api.client import Client, new_key

SINK = "http://127.0.0.1:9/"
"""A receiver on this machine that takes nothing."""
KEY_CURSOR = write_text_cursor(["2025-01-01T00:00:00+00:00", "000000000000"])
HOOK_CURSOR = "d2ViaG9va3MKMjAyNS0wMS0wMVQwMDowMDowMC4wMDAwMDAgaG9va18wMDAwMDAwMDAwMDAwMA"
THEN = "2025-01-01T00:00:00Z"
NO_CURSOR = "AAAAAAAAAAA"
KEY = "KEY OF THIS CALL"
"""In a body: where the key of a request stands that has it there."""


class Things(NamedTuple):
    """One of each kind of thing that is a tenant's: what names it in a request."""

    account: str
    payee: str
    owner: str
    asset: str
    transaction: str
    hold: str
    webhook: str
    api_key: str
    until: str
    statement_cursor: str
    groups_cursor: str


UNKNOWN = Things(
    absent.ACCOUNT,
    absent.ACCOUNT,
    "owner of nothing",
    "NOTHING",
    absent.TRANSACTION,
    absent.HOLD,
    "hook_00000000000000",
    "000000000000",
    "2025-02-01T00:00:00Z",
    NO_CURSOR,
    NO_CURSOR,
)
"""What names nothing of any tenant."""


@dataclass(frozen=True)
class Sample:
    """One call, apart from who makes it."""

    identifier: str = ""
    query: Mapping[str, Any] = field(default_factory=dict)
    body: Any = None


def made_by(caller: Client) -> Things:
    """Make one of each for a tenant."""
    books = Books(caller)
    books.open("""
        alice  USD  100
        shop   USD    0
    """)
    asset = f"G{uuid.uuid4().hex[:10]}".upper()
    caller.send("POST", "/v1/assets", {"code": asset, "scale": 0, "name": "Gems"}).ok()
    paid = books.transfer("alice", "shop", 2).ok()["id"]
    until = books.transfer("alice", "shop", 1).ok()["recorded_at"]
    statement = caller.get(f"/v1/accounts/{books['alice']}/statement", since=THEN, until=until, limit=1).ok()
    groups = caller.get("/v1/reports/balances", by="owner", limit=1).ok()
    return Things(
        books["alice"],
        books["shop"],
        f"{books.owner}/alice",
        asset,
        paid,
        books.hold("alice", "shop", 2).ok()["id"],
        caller.send("POST", "/v1/webhooks", {"url": SINK}).ok()["webhook"]["id"],
        caller.send("POST", "/v1/api-keys", {"name": "attacked"}).ok()["api_key"]["id"],
        until,
        statement["next_cursor"],
        groups["next_cursor"],
    )


def samples(of: Things) -> dict[str, list[Sample]]:
    """Calls on a tenant's things, by the name of the operation, which together name each field that there is."""
    note = {"description": "a note", "metadata": {"a": "b"}, "effective_at": None}
    payment = {"source": of.account, "destination": of.payee, "amount": "1", "asset": "USD", **note}
    terms: dict[str, Any] = {
        "kind": "wallet",
        "min_balance": "0",
        "max_balance": None,
        "metadata": {},
        "near": of.owner,
    }
    entry = {"account": of.account, "amount": "-1"}
    fee = {"account": "@fees", "amount": "1", "asset": "USD"}
    page = {"cursor": "AAAAAAAAAAE", "limit": 5}
    hook = {"url": SINK, "kinds": ["transfer"], "owner": of.owner}
    new = {"name": "till", "scopes": ["admin"], "networks": ["127.0.0.0/8"], "expires_at": None}
    events = {"shard": 1, "after": 0, "limit": 5, "kind": "transfer", "stages": "true"}
    return {
        "openAccount": [
            Sample(body={"owner": of.owner, "asset": "EUR", **terms}),
            Sample(body={"owner": f"owner {new_key()}", "asset": of.asset, **terms, "near": of.account}),
        ],
        "listAccounts": [Sample(query={"owner": of.owner, **page})],
        "getAccount": [Sample(of.account)],
        "changeAccount": [
            Sample(
                of.account, body={"status": "open", "min_balance": "0", "max_balance": None, "metadata": {}}
            )
        ],
        "getBalance": [
            Sample(of.account, {"min_position": 0, "consistency": "strong"}),
            Sample(of.account, {"at": THEN}),
            Sample(of.account, {"effective_at": THEN}),
        ],
        "getBalances": [
            Sample(body={"accounts": [of.account], "min_positions": {of.account: 0}, "consistency": "strong"})
        ],
        "getSystemOwnerBalances": [Sample("@fees")],
        "getStatement": [
            Sample(
                of.account,
                {"since": THEN, "until": of.until, "limit": 1, "cursor": of.statement_cursor},
            )
        ],
        "getTrialBalance": [Sample(query={"at": THEN})],
        "getBalanceGroups": [
            Sample(query={"by": "owner", "at": THEN, "limit": 5}),
            Sample(query={"by": "owner", "limit": 5, "cursor": of.groups_cursor}),
        ],
        "listEntries": [Sample(of.account, {**page, "stages": "true"})],
        "transfer": [Sample(body=payment)],
        "transferBatch": [
            Sample(body={"transfers": [{**payment, "idempotency_key": KEY}], "atomic": False}),
            Sample(body={"transfers": [{**payment, "idempotency_key": KEY}], "atomic": True}),
        ],
        "postTransaction": [
            Sample(body={"entries": [entry, {"account": of.payee, "amount": "1"}], **note}),
            Sample(body={"entries": [entry, fee], **note}),
        ],
        "getTransaction": [Sample(of.transaction, {"stages": "true"}), Sample(of.transaction)],
        "reverseTransaction": [Sample(of.transaction, body={"amount": "1", **note})],
        "placeHold": [Sample(body={**payment, "expires_in": 600})],
        "getHold": [Sample(of.hold)],
        "captureHold": [Sample(of.hold, body={"amount": "1", "final": False, **note})],
        "voidHold": [Sample(of.hold, body=note)],
        "listEvents": [
            Sample(query={**events, "account": of.account}),
            Sample(query={**events, "owner": of.owner}),
        ],
        "listAssets": [Sample(query={"cursor": "YXNzZXRzCm93biBBQUE", "limit": 5})],
        "getAsset": [Sample(of.asset)],
        "createAsset": [Sample(body={"code": of.asset, "scale": 0, "name": "Gems"})],
        "createWebhook": [Sample(body=hook)],
        "listWebhooks": [Sample(query={"cursor": HOOK_CURSOR, "limit": 5})],
        "getWebhook": [Sample(of.webhook)],
        "changeWebhook": [Sample(of.webhook, body={**hook, "state": "paused"})],
        "removeWebhook": [Sample(of.webhook)],
        "rotateWebhookSecret": [Sample(of.webhook, body={"overlap_seconds": 60})],
        "testWebhook": [Sample(of.webhook)],
        "createApiKey": [Sample(body=new)],
        "listApiKeys": [Sample(query={"cursor": KEY_CURSOR, "limit": 5})],
        "getApiKey": [Sample(of.api_key)],
        "changeApiKey": [Sample(of.api_key, body={**new, "scopes": ["read", "post"]})],
        "rotateApiKey": [Sample(of.api_key, body={"overlap_seconds": 60})],
        "revokeApiKey": [Sample(of.api_key)],
        "replayWebhook": [Sample(of.webhook, body={"shard": 1, "position": 1})],
    }


def named(value: Any) -> set[str]:
    """The names of all fields in a query or a body."""
    if isinstance(value, Mapping):
        return set(value) | {name for one in value.values() for name in named(one)}
    return {name for one in value for name in named(one)} if isinstance(value, list) else set()


def with_one_place_changed(sample: Sample, mine: Things, other: Things) -> Iterator[Sample]:
    """A call in which one reference to a thing of mine is one to another's, for each place that there is."""
    by_value = dict(zip(mine, other, strict=True))
    if sample.identifier in by_value:
        yield Sample(by_value[sample.identifier], sample.query, sample.body)
    for query in _changed(sample.query, by_value):
        yield Sample(sample.identifier, query, sample.body)
    for body in _changed(sample.body, by_value):
        yield Sample(sample.identifier, sample.query, body)


def _changed(value: Any, by_value: Mapping[str, str]) -> Iterator[Any]:
    if isinstance(value, str) and value in by_value:
        yield by_value[value]
    elif isinstance(value, Mapping):
        for name, one in value.items():
            if name in by_value:
                yield {**value, by_value[name]: one}
            for changed in _changed(one, by_value):
                yield {**value, name: changed}
    elif isinstance(value, list):
        for place, one in enumerate(value):
            for changed in _changed(one, by_value):
                yield [*value[:place], changed, *value[place + 1 :]]
