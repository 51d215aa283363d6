"""Transactions of several entries: each asset sums to zero, all or nothing."""

from tests.api import absent
from tests.api.books import Books
from tests.api.client import Client


def test_a_payment_with_a_fee(books: Books) -> None:
    books.open("""
        alice  USD  100
        shop   USD    0
        fees   USD    0  kind system
    """)
    answer = books.post(
        """
        alice  -100
        shop     97
        fees      3
        """,
        description="order 7",
    )
    assert answer.status == 201
    assert answer["kind"] == "transaction"
    assert [(entry["account"], entry["amount"]) for entry in answer["entries"]] == [
        (books["alice"], "-100"),
        (books["fees"], "3"),
        (books["shop"], "97"),
    ]
    assert books.client.get(f"/v1/transactions/{answer['id']}").body == answer.body
    books.check("""
        alice  USD   0
        shop   USD  97
        fees   USD   3
    """)


def test_a_currency_exchange_through_a_desk(books: Books) -> None:
    books.open("""
        alice        USD  100
        alice.euros  EUR    0
        desk         USD    0
        desk.euros   EUR  500
    """)
    books.post("""
        alice        -100
        desk          100
        desk.euros    -92
        alice.euros    92
    """).ok()
    books.check("""
        alice        USD    0
        alice.euros  EUR   92
        desk         USD  100
        desk.euros   EUR  408
    """)


def test_each_asset_sums_to_zero_on_its_own(books: Books) -> None:
    books.open("""
        alice  USD  100
        bob    EUR  100
    """)
    answer = books.post("""
        alice  -50
        bob     50
    """)
    assert answer.refused() == (422, "entries_unbalanced", "entries")
    books.check("""
        alice  USD  100
        bob    EUR  100
    """)


def test_entries_that_do_not_sum_to_zero(books: Books) -> None:
    books.open("""
        alice  USD  100
        bob    USD    0
    """)
    assert books.post("alice -50 \n bob 49").refused() == (422, "entries_unbalanced", "entries")
    books.check("""
        alice  USD  100
        bob    USD    0
    """)


def test_all_or_nothing(books: Books) -> None:
    books.open("""
        alice  USD  100
        bob    USD   10
        carol  USD    0
    """)
    answer = books.post("""
        alice  -100
        bob     -11
        carol   111
    """)
    assert answer.refused() == (422, "insufficient_funds", "entries[1].account")
    books.check("""
        alice  USD  100
        bob    USD   10
        carol  USD    0
    """)


def test_an_account_appears_once(books: Books) -> None:
    books.open("""
        alice  USD  100
        bob    USD    0
    """)
    answer = books.post("""
        alice  -50
        bob    100
        alice  -50
    """)
    assert answer.refused() == (422, "same_account", "entries[2].account")


def test_of_several_reasons_the_first_in_precedence(books: Books) -> None:
    books.open("""
        alice  USD  0
        bob    USD  0
    """)
    books.change("bob", status="closed").ok()
    # Alice cannot pay, but Bob's account is closed: more money would not help.
    assert books.post("alice -1 \n bob 1").refused() == (422, "account_closed", "entries[1].account")


def test_an_entry_of_nobody(books: Books) -> None:
    books.open("alice  USD  100")
    answer = books.post(f"alice -10 \n {absent.ACCOUNT} 10")
    assert answer.refused() == (422, "account_not_found", "entries[1].account")


def test_a_hundred_entries_and_no_more(books: Books) -> None:
    names = [f"payee{number}" for number in range(100)]
    books.open("alice  USD  1000\n" + "\n".join(f"{name}  USD  0" for name in names))
    payouts = "\n".join(f"{name} 10" for name in names[:99])

    assert len(books.post(f"alice -990 \n {payouts}").ok()["entries"]) == 100
    answer = books.post(f"alice -1000 \n {payouts} \n payee99 10")
    assert answer.refused() == (400, "parameter_invalid", "entries")
    books.check("""
        alice    USD  10
        payee0   USD  10
        payee98  USD  10
        payee99  USD   0
    """)


def test_one_entry_is_none(books: Books) -> None:
    books.open("alice  USD  100")
    assert books.post("alice -1").refused() == (400, "parameter_invalid", "entries")


def test_what_is_held_is_left_alone(books: Books) -> None:
    books.open("""
        alice  USD  100
        bob    USD    0
    """)
    books.hold("alice", "bob", 60).ok()
    assert books.post("alice -41 \n bob 41").refused() == (422, "insufficient_funds", "entries[0].account")
    books.post("alice -40 \n bob 40").ok()
    books.check("""
        alice  USD  60  held 60
        bob    USD  40
    """)


def test_an_opened_account_is_a_transaction_without_entries(books: Books, client: Client) -> None:
    books.open("alice  USD  1")
    first = books.history("alice")["items"][-1]
    assert first["kind"] == "transfer"
    assert client.get(f"/v1/transactions/{first['transaction']}").ok()["position"] == first["position"]
