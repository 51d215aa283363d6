"""Histories and balances of the past."""

from datetime import UTC, datetime, timedelta

from tests.api import absent
from tests.api.books import Books
from tests.api.client import Answer

INT64_MAX = 2**63 - 1


def just_before(time: str) -> str:
    return (datetime.fromisoformat(time) - timedelta(microseconds=1)).isoformat()


def amounts(answer: Answer) -> list[tuple[int, int]]:
    """Amount and running balance of each line of a page."""
    return [(int(line["amount"]), int(line["balance"])) for line in answer.ok()["items"]]


def test_newest_first_with_the_running_balance(books: Books) -> None:
    books.open("""
        alice  USD  100
        bob    USD    0
    """)
    books.transfer("alice", "bob", 30).ok()
    books.transfer("bob", "alice", 5).ok()
    last = books.transfer("alice", "bob", 1, description="last", metadata={"a": "b"}).ok()

    history = books.history("alice")
    assert amounts(history) == [(-1, 74), (5, 75), (-30, 70), (100, 100)]
    assert history["next_cursor"] is None
    assert history["items"][0] == {
        "transaction": last["id"],
        "kind": "transfer",
        "position": last["position"],
        "recorded_at": last["recorded_at"],
        "effective_at": last["effective_at"],
        "refers_to": None,
        "description": "last",
        "metadata": {"a": "b"},
        "amount": "-1",
        "balance": "74",
        "held": "0",
        "held_after": "0",
    }


def test_an_account_without_a_history(books: Books) -> None:
    books.open("alice  USD  0")
    assert books.history("alice").ok().json == {"items": [], "next_cursor": None}


def test_pages_are_complete_and_without_doubles_while_entries_are_added(books: Books) -> None:
    books.open("""
        alice  USD  1000
        bob    USD     0
    """)
    for amount in range(1, 24):
        books.transfer("alice", "bob", amount).ok()
    before = amounts(books.history("bob", limit=500))
    assert len(before) == 23

    found: list[tuple[int, int]] = []
    cursor: dict[str, str] = {}
    while cursor != {"cursor": None}:
        page = books.history("bob", limit=5, **cursor).ok()
        assert len(page["items"]) <= 5
        found += amounts(page)
        cursor = {"cursor": page["next_cursor"]}
        books.transfer("alice", "bob", 1).ok()

    assert found == before


def test_a_full_last_page_has_no_next_one(books: Books) -> None:
    books.open("""
        alice  USD  100
        bob    USD    0
    """)
    for _ in range(4):
        books.transfer("alice", "bob", 1).ok()
    first = books.history("bob", limit=2).ok()
    second = books.history("bob", limit=2, cursor=first["next_cursor"]).ok()
    assert amounts(first) + amounts(second) == [(1, 4), (1, 3), (1, 2), (1, 1)]
    assert second["next_cursor"] is None


def test_an_unknown_account_has_no_history_and_no_balance(books: Books) -> None:
    account = absent.ACCOUNT
    assert books.history(account).refused() == (404, "account_not_found", "id")
    assert books.balance(account).refused() == (404, "account_not_found", "id")
    then = "2020-01-01T00:00:00Z"
    assert books.balance(account, at=then).refused() == (404, "account_not_found", "id")
    assert books.balance(account, effective_at=then).refused() == (404, "account_not_found", "id")


def test_a_balance_as_it_was_recorded(books: Books) -> None:
    books.open("""
        alice  USD  100
        bob    USD    0
    """)
    paid = books.transfer("alice", "bob", 30).ok()
    held = books.hold("alice", "bob", 50).ok()
    held_at = books.client.get(f"/v1/transactions/{held['transaction']}")["recorded_at"]
    again = books.transfer("alice", "bob", 20).ok()

    def then(at: str) -> tuple[str, str, str]:
        balance = books.balance("alice", at=at).ok()
        return balance["balance"], balance["held"], balance["available"]

    assert then("2000-01-01T00:00:00Z") == ("0", "0", "0")
    assert then(just_before(paid["recorded_at"])) == ("100", "0", "100")
    assert then(paid["recorded_at"]) == ("70", "0", "70")
    assert then(just_before(held_at)) == ("70", "0", "70")
    assert then(held_at) == ("70", "50", "20")
    assert then(just_before(again["recorded_at"])) == ("70", "50", "20")
    assert then(again["recorded_at"]) == ("50", "50", "0")
    assert then(datetime.now(UTC).isoformat()) == ("50", "50", "0")
    assert books.balance("alice", at=paid["recorded_at"])["position"] == paid["position"]


def test_what_was_recorded_stays_recorded(books: Books) -> None:
    """What is posted later, and be it effective earlier, does not change what was recorded then."""
    books.open("""
        alice  USD  100
        bob    USD    0
    """)
    then = books.transfer("alice", "bob", 30).ok()["recorded_at"]
    before = books.balance("alice", at=then)
    books.transfer("alice", "bob", 7, effective_at="2020-01-01T00:00:00Z").ok()
    assert books.balance("alice", at=then).body == before.body


def test_a_balance_by_what_was_effective(books: Books) -> None:
    books.open("""
        alice  USD  100
        bob    USD    0
    """)
    books.transfer("alice", "bob", 1, effective_at="2020-01-03T00:00:00Z").ok()
    books.transfer("alice", "bob", 20, effective_at="2020-01-01T00:00:00Z").ok()
    books.transfer("alice", "bob", 40, effective_at="2020-01-02T00:00:00Z").ok()

    def by(effective_at: str) -> int:
        balance = books.balance("bob", effective_at=effective_at).ok()
        assert balance["held"] is None
        assert balance["available"] is None
        return int(balance["balance"])

    assert by("2019-12-31T23:59:59.999999Z") == 0
    assert by("2020-01-01T00:00:00Z") == 20
    assert by("2020-01-02T12:00:00+12:00") == 60
    assert by("2020-01-02T23:59:59.999999Z") == 60
    assert by("2020-01-03T00:00:00Z") == 61
    assert int(books.balance("alice", effective_at="2020-01-01T00:00:00Z")["balance"]) == -20


def test_a_balance_by_what_was_effective_may_be_more_than_was_ever_there(books: Books) -> None:
    """Two amounts that were never there together, effective at the same time: their sum is not an int64."""
    books.open("""
        alice  USD  0
        mint   USD  0  kind system
    """)
    for _ in range(2):
        books.transfer("mint", "alice", INT64_MAX, effective_at="2020-01-01T00:00:00Z").ok()
        books.transfer("alice", "mint", INT64_MAX).ok()
    assert books.balance("alice", effective_at="2020-01-01T00:00:00Z").ok()["balance"] == str(2 * INT64_MAX)
    books.check("alice  USD  0")
