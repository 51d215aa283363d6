"""Reports: the trial balance, balances by label, and statements, which follow from the books and stay as they are."""

import base64
import csv
import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from tests.api.books import Books
from tests.api.client import Answer, Client
from tests.api.conftest import NothingWritten
from tests.api.pairs import Pair
from tests.api.server import Installation, Server

LONG_AGO = "2020-01-01T00:00:00Z"


def now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def statement(books: Books, name: str, since: str, until: str, **query: Any) -> Answer:
    fields = {"since": since, "until": until, **query}
    text = "&".join(f"{key}={quote(str(value))}" for key, value in fields.items())
    return books.client.get(f"/v1/accounts/{books[name]}/statement?{text}")


@pytest.fixture
def own(installation: Installation, server: Server) -> Iterator[Books]:
    """The books of a tenant of their own, which has nothing else."""
    tenant = f"reports {datetime.now(UTC).timestamp()}"
    with Client(server.url, installation.make_key(tenant).key) as client:
        yield Books(client)


def test_a_trial_balance_has_all_accounts_and_its_sums_are_equal(own: Books) -> None:
    own.open("""
        alice  USD  100
        bob    USD   30
        carol  EUR    7
    """)
    own.transfer("alice", "bob", 40).ok()
    report = own.client.get("/v1/reports/trial-balance").ok().json
    assert report["lines"] == [
        {"asset": "EUR", "kind": "wallet", "accounts": 1, "debit": "0", "credit": "7"},
        {"asset": "EUR", "kind": "system", "accounts": 1, "debit": "-7", "credit": "0"},
        {"asset": "USD", "kind": "wallet", "accounts": 2, "debit": "0", "credit": "130"},
        {"asset": "USD", "kind": "system", "accounts": 1, "debit": "-130", "credit": "0"},
    ]
    assert report["totals"] == [
        {"asset": "EUR", "debit": "-7", "credit": "7"},
        {"asset": "USD", "debit": "-130", "credit": "130"},
    ]
    assert [one["shard"] for one in report["positions"]] == [1]


def test_a_trial_balance_at_a_time_stays_as_it_is(own: Books) -> None:
    own.open("alice USD 100")
    then = now()
    before = own.client.get(f"/v1/reports/trial-balance?at={then}").ok().json
    own.open("bob USD 50")
    after = own.client.get(f"/v1/reports/trial-balance?at={then}").ok().json
    assert after == before
    assert before["totals"] == [{"asset": "USD", "debit": "-100", "credit": "100"}]


def test_balances_are_summed_by_labels(own: Books) -> None:
    for owner, branch, asset in (
        ("a", "north", "USD"),
        ("b", "north", "USD"),
        ("b", "south", "EUR"),
        ("c", None, "USD"),
    ):
        body: dict[str, Any] = {"owner": owner, "asset": asset, "kind": "system"}
        if branch is not None:
            body["metadata"] = {"branch": branch}
        account = own.client.post("/v1/accounts", body).ok()["id"]
        world = own.client.post("/v1/accounts", {"owner": "world", "asset": asset, "kind": "system"}).ok()[
            "id"
        ]
        own.client.post(
            "/v1/transfers", {"source": world, "destination": account, "amount": "10", "asset": asset}
        ).ok()

    def groups(by: str) -> list[tuple[str | None, str, int, str]]:
        found, cursor = [], ""
        while True:
            page = own.client.get(f"/v1/reports/balances?by={by}&limit=1{cursor}").ok().json
            found += [(one["label"], one["asset"], one["accounts"], one["balance"]) for one in page["items"]]
            if page["next_cursor"] is None:
                return found
            cursor = f"&cursor={page['next_cursor']}"

    assert groups("owner") == [
        ("a", "USD", 1, "10"), ("b", "EUR", 1, "10"), ("b", "USD", 1, "10"), ("c", "USD", 1, "10"),
        ("world", "EUR", 1, "-10"), ("world", "USD", 3, "-30"),
    ]  # fmt: skip
    assert groups("kind") == [("system", "EUR", 2, "0"), ("system", "USD", 6, "0")]
    assert groups("metadata.branch") == [
        (None, "EUR", 1, "-10"), (None, "USD", 4, "-20"), ("north", "USD", 2, "20"), ("south", "EUR", 1, "10"),
    ]  # fmt: skip


def test_pages_of_balances_are_read_at_one_position(own: Books) -> None:
    own.open("""
        alice  USD  100
        bob    USD   30
    """)
    first = own.client.get("/v1/reports/balances?by=owner&limit=1").ok().json
    own.transfer("alice", "bob", 40).ok()
    second = own.client.get(f"/v1/reports/balances?by=owner&limit=2&cursor={first['next_cursor']}").ok().json
    assert second["positions"] == first["positions"]
    balances = {
        one["label"].rpartition("/")[2]: one["balance"] for one in [*first["items"], *second["items"]]
    }
    assert (balances["alice"], balances["bob"], len(balances)) == ("100", "30", 3)


def test_a_statement_has_what_moved_in_its_period(own: Books) -> None:
    own.open("""
        alice  USD  100
        bob    USD    0
    """)
    since = now()
    own.transfer("alice", "bob", 40, description="rent").ok()
    hold = own.hold("alice", "bob", 25).ok()["id"]
    own.client.post(f"/v1/holds/{hold}/capture", {"amount": "20", "final": True}).ok()
    until = now()
    own.transfer("alice", "bob", 1).ok()
    found = statement(own, "alice", since, until).ok().json
    assert (found["opening_balance"], found["closing_balance"], found["final"]) == ("100", "40", True)
    assert [
        (line["kind"], line["description"], line["amount"], line["balance"], line["counterparties"])
        for line in found["items"]
    ] == [
        ("transfer", "rent", "-40", "60", [own["bob"]]),
        ("hold_captured", None, "-20", "40", [own["bob"]]),
    ]
    assert found["items"][1]["refers_to"] == hold


def test_a_final_statement_has_the_same_bytes_for_ever(own: Books) -> None:
    own.open("""
        alice  USD  100
        bob    USD    0
    """)
    own.transfer("alice", "bob", 40).ok()
    until = now()
    assert statement(own, "alice", LONG_AGO, until).ok()["final"] is False
    own.transfer("alice", "bob", 1).ok()
    before = statement(own, "alice", LONG_AGO, until).ok()
    own.transfer("alice", "bob", 1).ok()
    assert before["final"] is True
    assert statement(own, "alice", LONG_AGO, until).ok().body == before.body


def test_pages_of_a_statement_have_each_line_once(own: Books) -> None:
    own.open("""
        alice  USD  100
        bob    USD    0
    """)
    for amount in range(1, 8):
        own.transfer("alice", "bob", amount).ok()
    until = now()
    whole = statement(own, "alice", LONG_AGO, until).ok().json
    lines: list[Any] = []
    query: dict[str, Any] = {"limit": 3}
    while True:
        page = statement(own, "alice", LONG_AGO, until, **query).ok().json
        # What comes meanwhile is in no page.
        own.transfer("alice", "bob", 1).ok()
        lines += page["items"]
        assert (page["closed_at_position"], page["closing_balance"]) == (
            whole["closed_at_position"],
            whole["closing_balance"],
        )
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert lines == whole["items"]
    assert len(lines) == 8


def test_a_statement_as_csv(own: Books) -> None:
    own.open("""
        alice  USD  100
        bob    USD    0
    """)
    since = now()
    own.transfer("alice", "bob", 40, description='=HYPERLINK("http://evil"), "quoted"').ok()
    until = now()
    path = f"/v1/accounts/{own['alice']}/statement?since={since}&until={until}"
    answer = own.client.request("GET", path, headers={"Accept": "text/csv"}).ok()
    assert answer.content_type.startswith("text/csv")
    opening, line, closing = csv.DictReader(io.StringIO(answer.body.decode(), newline=""))
    assert (opening["kind"], opening["balance"]) == ("opening_balance", "100")
    assert line["description"] == '\'=HYPERLINK("http://evil"), "quoted"'
    assert (line["counterparties"], line["amount"], line["balance"]) == (own["bob"], "-40", "60")
    assert (closing["kind"], closing["balance"]) == ("closing_balance", "60")


def test_a_payment_between_shards_has_one_line_and_its_other_side(pair: Pair) -> None:
    until_before = now()
    paid = pair.pay_to_the_end(12, f"statement {until_before}").ok()
    until = (datetime.now(UTC) + timedelta(seconds=1)).isoformat().replace("+00:00", "Z")
    for account, amount, other in ((pair.payer, "-12", pair.payee), (pair.payee, "12", pair.payer)):
        path = f"/v1/accounts/{account}/statement?since={until_before}&until={until}"
        (line,) = pair.client.get(path).ok()["items"]
        assert (line["transaction"], line["kind"]) == (paid["id"], "transfer")
        assert (line["amount"], line["counterparties"]) == (amount, [other])
    report = pair.client.get("/v1/reports/trial-balance").ok().json
    assert [one["shard"] for one in report["positions"]] == [1, 2]
    assert {one["kind"] for one in report["lines"]} >= {"wallet", "clearing"}


@pytest.mark.parametrize(
    ("path", "param"),
    [
        ("statement", "since"),
        (f"statement?since={LONG_AGO}", "until"),
        (f"statement?since={LONG_AGO}&until={LONG_AGO}", "until"),
        (f"statement?since={LONG_AGO}&until=2999-01-01T00:00:00Z", "until"),
        (f"statement?since={LONG_AGO}&until=2020-02-30T00:00:00Z", "until"),
        (f"statement?since={LONG_AGO}&until=2021-01-01T00:00:00Z&limit=0", "limit"),
        (f"statement?since={LONG_AGO}&until=2021-01-01T00:00:00Z&cursor=AAAA", "cursor"),
        ("reports/balances", "by"),
        ("reports/balances?by=colour", "by"),
        ("reports/balances?by=metadata.", "by"),
        ("reports/balances?by=owner&cursor=%ff", "query"),
        ("reports/trial-balance?at=2999-01-01T00:00:00Z", "at"),
        ("reports/trial-balance?at=yesterday", "at"),
        ("reports/trial-balance?when=now", "when"),
    ],
)
def test_what_cannot_be_asked(own: Books, path: str, param: str, nothing_written: NothingWritten) -> None:
    own.open("alice USD 0")
    place = f"/v1/accounts/{own['alice']}/{path}" if path.startswith("statement") else f"/v1/{path}"
    with nothing_written():
        assert own.client.get(place).refused() == (400, "parameter_invalid", param)


def test_a_cursor_belongs_to_its_list_and_its_tenant(own: Books, stranger: Client) -> None:
    own.open("""
        alice  USD  100
        bob    USD   30
    """)
    page = own.client.get("/v1/reports/balances?by=owner&limit=1").ok()
    for client, query in ((own.client, "by=kind"), (stranger, "by=owner")):
        answer = client.get(f"/v1/reports/balances?{query}&cursor={page['next_cursor']}")
        assert answer.refused() == (400, "parameter_invalid", "cursor")


def with_place(cursor: str, place: object) -> str:
    """A cursor of the same list whose place was changed, as anyone can who sees one."""
    mark = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))[:8]
    return base64.urlsafe_b64encode(mark + msgspec.msgpack.encode(place)).decode().rstrip("=")


def test_a_changed_cursor_is_refused_or_begins_elsewhere(own: Books) -> None:
    """The server does not take what a caller writes for a fault of its log."""
    own.open("""
        alice  USD  100
        bob    USD   30
    """)
    own.transfer("alice", "bob", 1).ok()
    until = now()
    cursor = statement(own, "alice", LONG_AGO, until, limit=1).ok()["next_cursor"]
    place: object
    for place in ([0, 0], [0, 1], [10**15, 10**15], [3, 2]):
        found = statement(own, "alice", LONG_AGO, until, cursor=with_place(cursor, place)).ok().json
        assert int(found["closing_balance"]) in {0, 99, 100}
    for place in ([0, 2**63], [-1, 5], [0], "x", {"after": 1}, [0, 0.5], None):
        answer = statement(own, "alice", LONG_AGO, until, cursor=with_place(cursor, place))
        assert answer.refused() == (400, "parameter_invalid", "cursor")
    path = "/v1/reports/balances?by=owner&limit=1"
    cursor = own.client.get(path).ok()["next_cursor"]
    for place in (
        ["\0", "", {1: 5}],
        ["", "", {}],
        ["", "", {1: 2**63}],
        ["", "", {9: 1}],
        ["a" * 5_000, "", {1: 1}],
    ):
        answer = own.client.get(f"{path}&cursor={with_place(cursor, place)}")
        assert answer.refused() == (400, "parameter_invalid", "cursor")


def test_strangers_have_no_statement(own: Books, stranger: Client) -> None:
    own.open("alice USD 100")
    path = f"/v1/accounts/{own['alice']}/statement?since={LONG_AGO}&until=2021-01-01T00:00:00Z"
    assert stranger.get(path).refused()[:2] == (404, "account_not_found")
