"""Many transfers in one call: one outcome each, or all or none."""

from typing import Any

from tests.api.books import Books
from tests.api.client import Answer, Client, new_key

BATCH = "/v1/transfers/batch"


def payments(books: Books, ledger: str, key: str) -> list[dict[str, Any]]:
    """Transfers from lines of `source destination amount`; their keys are numbered."""
    found = []
    for number, line in enumerate(line for line in ledger.splitlines() if line.strip()):
        source, destination, amount = line.split()
        found.append({**books.payment(source, destination, amount), "idempotency_key": f"{key} {number}"})
    return found


def send(books: Books, ledger: str, *, key: str | None = None, atomic: bool = False) -> Answer:
    transfers = payments(books, ledger, key or new_key())
    return books.client.send("POST", BATCH, {"transfers": transfers, "atomic": atomic})


def codes(answer: Answer) -> list[str]:
    """What each transfer came to, in order."""
    assert answer.status == 200, answer.body
    outcomes = answer["outcomes"]
    assert all((one["transaction"] is None) != (one["refusal"] is None) for one in outcomes)
    return [one["refusal"]["code"] if one["refusal"] else "posted" for one in outcomes]


def test_one_outcome_each(books: Books) -> None:
    books.open("""
        alice  USD  100
        bob    USD    0
        carol  EUR    0
    """)
    answer = send(
        books,
        """
        alice  bob    60
        alice  bob    50
        alice  carol   1
        bob    alice  10
        alice  bob    50
        """,
    )
    assert codes(answer) == ["posted", "insufficient_funds", "asset_mismatch", "posted", "posted"]
    assert answer["outcomes"][1]["refusal"]["param"] == "source"
    books.check("""
        alice  USD    0
        bob    USD  100
        carol  EUR    0
    """)
    posted = answer["outcomes"][3]["transaction"]
    assert books.client.get(f"/v1/transactions/{posted['id']}").json == posted


def test_an_atomic_batch_is_posted_whole(books: Books) -> None:
    books.open("""
        alice  USD  100
        bob    USD    0
        carol  USD    0
    """)
    # Carol pays with what Bob pays her in the same batch.
    answer = send(books, "alice bob 100 \n bob carol 100 \n carol alice 40", atomic=True)
    assert codes(answer) == ["posted"] * 3
    books.check("""
        alice  USD  40
        bob    USD   0
        carol  USD  60
    """)


def test_an_atomic_batch_is_refused_whole(books: Books) -> None:
    books.open("""
        alice  USD  100
        bob    USD    0
    """)
    key = new_key()
    ledger = "alice bob 60 \n alice bob 60 \n bob alice 1"
    answer = send(books, ledger, key=key, atomic=True)
    assert codes(answer) == ["atomic_batch_refused", "insufficient_funds", "atomic_batch_refused"]
    books.check("""
        alice  USD  100
        bob    USD    0
    """)
    # All keys are burned: also when it would work now, the answer stays.
    books.open("bank USD 1000")
    books.transfer("bank", "alice", 1000).ok()
    assert send(books, ledger, key=key, atomic=True).body == answer.body
    books.check("alice  USD  1100")


def test_a_batch_again_has_the_same_answer(books: Books) -> None:
    books.open("""
        alice  USD  100
        bob    USD    0
    """)
    for atomic in (False, True):
        key = new_key()
        first = send(books, "alice bob 10 \n bob alice 999 \n alice bob 5", key=key, atomic=atomic)
        assert (
            send(books, "alice bob 10 \n bob alice 999 \n alice bob 5", key=key, atomic=atomic).body
            == first.body
        )
    books.check("""
        alice  USD  85
        bob    USD  15
    """)


def test_one_key_twice_in_a_batch(books: Books) -> None:
    books.open("""
        alice  USD  100
        bob    USD    0
    """)
    same = payments(books, "alice bob 10", new_key())[0]
    other = {**same, "amount": "11"}
    answer = books.client.send("POST", BATCH, {"transfers": [same, same, other]})
    assert codes(answer) == ["posted", "posted", "idempotency_key_reused"]
    assert answer["outcomes"][0] == answer["outcomes"][1]
    assert answer["outcomes"][2]["refusal"]["param"] == "amount"
    books.check("""
        alice  USD  90
        bob    USD  10
    """)


def test_alone_and_in_a_batch_a_key_is_the_same(books: Books) -> None:
    books.open("""
        alice  USD  100
        bob    USD    0
    """)
    payment = payments(books, "alice bob 10", new_key())[0]
    in_batch = books.client.send("POST", BATCH, {"transfers": [payment]}).ok()["outcomes"][0]["transaction"]
    key = payment.pop("idempotency_key")
    assert books.client.post("/v1/transfers", payment, key=key).ok().json == in_batch
    books.check("""
        alice  USD  90
        bob    USD  10
    """)


def test_five_thousand_and_no_more(books: Books, client: Client) -> None:
    books.open("""
        alice  USD  10000
        bob    USD      0
    """)
    key = new_key()
    transfers = [
        {**books.payment("alice", "bob", 1), "idempotency_key": f"{key} {number}"} for number in range(5001)
    ]
    refused = client.send("POST", BATCH, {"transfers": transfers})
    assert refused.refused() == (400, "parameter_invalid", "transfers")
    assert client.send("POST", BATCH, {"transfers": []}).refused() == (400, "parameter_invalid", "transfers")
    answer = client.send("POST", BATCH, {"transfers": transfers[:5000]})
    assert codes(answer) == ["posted"] * 5000
    books.check("""
        alice  USD  5000
        bob    USD  5000
    """)


def test_a_malformed_transfer_stops_the_whole_call(books: Books) -> None:
    books.open("""
        alice  USD  100
        bob    USD    0
    """)
    answer = send(books, "alice bob 10 \n alice bob 0")
    assert answer.refused() == (400, "parameter_invalid", "transfers[1].amount")
    answer = send(books, "alice bob 10 \n alice acct_0 5")
    assert answer.refused() == (400, "parameter_invalid", "transfers[1].destination")
    books.check("""
        alice  USD  100
        bob    USD    0
    """)
