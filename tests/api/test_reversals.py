"""Reversals: the opposite of a transaction, in whole or in part, never more than the whole."""

from tests.api import absent
from tests.api.books import Books
from tests.api.client import Client, at_once

INT64_MAX = 2**63 - 1


def test_a_whole_reversal(books: Books) -> None:
    books.open("""
        alice  USD  100
        bob    USD    0
    """)
    paid = books.transfer("alice", "bob", 60).ok()["id"]
    answer = books.reverse(paid, description="wrong person")
    assert answer.status == 201
    assert (answer["kind"], answer["refers_to"]) == ("reversal", paid)
    assert [(entry["account"], entry["amount"]) for entry in answer["entries"]] == [
        (books["bob"], "-60"),
        (books["alice"], "60"),
    ]
    assert books.client.get(f"/v1/transactions/{answer['id']}").body == answer.body
    books.check("""
        alice  USD  100
        bob    USD    0
    """)


def test_parts_never_more_than_the_whole(books: Books) -> None:
    books.open("""
        alice  USD  100
        bob    USD  100
    """)
    paid = books.transfer("alice", "bob", 60).ok()["id"]
    books.reverse(paid, 20).ok()
    assert books.reverse(paid, 41).refused() == (422, "reversal_exceeds_original", "amount")
    books.reverse(paid, 39).ok()
    books.reverse(paid).ok()  # all that is left: one
    assert books.reverse(paid).refused() == (422, "reversal_exceeds_original", "amount")
    assert books.reverse(paid, 1).refused() == (422, "reversal_exceeds_original", "amount")
    books.check("""
        alice  USD  100
        bob    USD  100
    """)


def test_at_once_it_is_still_not_more_than_the_whole(books: Books, client: Client) -> None:
    books.open("""
        alice  USD  100
        bob    USD  100
    """)
    paid = books.transfer("alice", "bob", 60).ok()["id"]
    path = f"/v1/transactions/{paid}/reverse"
    answers = at_once([client] * 8, lambda caller: caller.post(path, {"amount": "25"}))
    assert sorted(answer.status for answer in answers) == [201, 201, *[422] * 6]
    books.check("""
        alice  USD   90
        bob    USD  110
    """)


def test_the_receiver_must_have_the_money(books: Books) -> None:
    books.open("""
        alice  USD  100
        bob    USD    0
        carol  USD    0
    """)
    paid = books.transfer("alice", "bob", 60).ok()["id"]
    books.transfer("bob", "carol", 50).ok()
    assert books.reverse(paid).refused() == (422, "insufficient_funds", "id")
    books.reverse(paid, 10).ok()
    books.check("""
        alice  USD  50
        bob    USD   0
        carol  USD  50
    """)


def test_unless_it_may_go_below_zero(books: Books) -> None:
    books.open("""
        alice  USD  100
        bob    USD    0  min -100
        carol  USD    0
    """)
    paid = books.transfer("alice", "bob", 60).ok()["id"]
    books.transfer("bob", "carol", 50).ok()
    books.reverse(paid).ok()
    books.check("""
        alice  USD  100
        bob    USD  -50
        carol  USD   50
    """)


def test_what_the_receiver_has_set_aside_is_not_taken_back(books: Books) -> None:
    books.open("""
        alice  USD  100
        bob    USD    0
    """)
    paid = books.transfer("alice", "bob", 60).ok()["id"]
    books.hold("bob", "alice", 60).ok()
    assert books.reverse(paid).refused() == (422, "insufficient_funds", "id")


def test_a_transaction_of_many_entries_as_a_whole_only(books: Books) -> None:
    books.open("""
        alice  USD  100
        shop   USD    0
        fees   USD    0
    """)
    paid = books.post("alice -100 \n shop 97 \n fees 3").ok()["id"]
    assert books.reverse(paid, 50).refused() == (422, "transaction_not_reversible", "amount")
    books.reverse(paid).ok()
    assert books.reverse(paid).refused() == (422, "reversal_exceeds_original", "amount")
    books.check("""
        alice  USD  100
        shop   USD    0
        fees   USD    0
    """)


def test_a_capture_can_be_reversed(books: Books) -> None:
    books.open("""
        alice  USD  100
        shop   USD    0
    """)
    captured = books.capture(books.hold("alice", "shop", 60).ok()["id"], 50).ok()["transaction"]
    books.reverse(captured, 20).ok()
    books.check("""
        alice  USD  70  held 10
        shop   USD  30
    """)


def test_what_cannot_be_reversed(books: Books) -> None:
    books.open("""
        alice  USD  100
        bob    USD    0
    """)
    reversal = books.reverse(books.transfer("alice", "bob", 60).ok()["id"]).ok()["id"]
    assert books.reverse(reversal).refused() == (422, "transaction_not_reversible", "id")
    placed = books.hold("alice", "bob", 60).ok()["transaction"]
    assert books.reverse(placed).refused() == (422, "transaction_not_reversible", "id")


def test_nothing_cannot_be_reversed(books: Books) -> None:
    assert books.reverse(absent.TRANSACTION).refused() == (422, "transaction_not_found", "id")


def test_the_payer_may_be_frozen_but_not_closed(books: Books) -> None:
    books.open("""
        alice  USD  60
        bob    USD   0
    """)
    paid = books.transfer("alice", "bob", 60).ok()["id"]
    books.change("alice", status="closed").ok()
    assert books.reverse(paid).refused() == (422, "account_closed", "id")
    books.change("alice", status="frozen").ok()
    books.reverse(paid).ok()
    books.check("""
        alice  USD  60
        bob    USD   0
    """)


def test_a_reversed_exchange_of_the_largest_amounts(books: Books) -> None:
    """Two assets, each as much as an account can hold: their sum is not an int64."""
    books.open("""
        alice        USD  0
        alice.euros  EUR  0  min none
        desk         USD  0  min none
        desk.euros   EUR  0
    """)
    exchanged = books.post(f"""
        desk        {-INT64_MAX}
        alice        {INT64_MAX}
        alice.euros {-INT64_MAX}
        desk.euros   {INT64_MAX}
    """).ok()["id"]
    books.reverse(exchanged).ok()
    assert books.reverse(exchanged).refused() == (422, "reversal_exceeds_original", "amount")
    books.check("""
        alice        USD  0
        alice.euros  EUR  0
        desk         USD  0
        desk.euros   EUR  0
    """)
