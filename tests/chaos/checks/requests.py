"""Checks of requests that move money: what was promised is there once, with its body, and nothing else is."""

from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from tests.chaos.checks.evidence import Evidence, Payment, Sent, answered_payment
from tests.chaos.history import Attempt, Result
from tests.chaos.messages import Problem, Transaction, read

KEY_REUSED: Final = "idempotency_key_reused"
_KINDS: Final = {
    "transfer": "transfer",
    "hold": "hold_placed",
    "capture": "hold_captured",
    "void": "hold_voided",
    "reversal": "reversal",
}
OF_THE_LEDGER: Final = frozenset({"hold_expired"})
"""The payments that no client asks for."""


def acknowledged_are_there_once(evidence: Evidence) -> Iterator[str]:
    """Each request that was acknowledged has made one payment: the one that its answer names, with its body."""
    for sent in evidence.sent:
        for attempt in sent.answers(Result.ACKNOWLEDGED)[:1]:
            found = evidence.payments_of(sent)
            if [payment.id for payment in found] != [answered_payment(attempt)]:
                yield f"{attempt}: it was acknowledged, and there are {_all(found)}"
            elif wrong := what_differs(sent, found[0], evidence):
                yield f"{attempt}: {found[0]}: {wrong}"


def answers_are_what_the_log_has(evidence: Evidence) -> Iterator[str]:
    """The position and the balances in the answer to a payment inside a shard are those of the log."""
    for sent in evidence.sent:
        if sent.kind not in {"transfer", "reversal"}:
            continue
        for attempt in sent.answers(Result.ACKNOWLEDGED):
            told = read(attempt.answer or "", Transaction)
            for entry in told.entries:
                if entry.balance is None:
                    continue  # the payment crosses, and its shards have no common moment
                state = evidence.state_at(entry.account, told.position)
                if (
                    state is None
                    or (state.position, state.balance, state.held)
                    != (told.position, entry.balance, entry.held_after)
                ):  # fmt: skip
                    yield f"{attempt}: {entry.account} had {state} there, and not {entry.balance}"


def refused_are_absent(evidence: Evidence) -> Iterator[str]:
    """A request that was refused has made no payment."""
    for sent in evidence.sent:
        for attempt in sent.answers(Result.REFUSED)[:1]:
            if found := evidence.payments_of(sent):
                yield f"{attempt}: it was refused, and there are {_all(found)}"


def unknown_are_there_once_or_not(evidence: Evidence) -> Iterator[str]:
    """A request without a definite answer has made one payment, with its body, or none."""
    for sent in evidence.sent:
        if sent.results & {Result.ACKNOWLEDGED, Result.REFUSED}:
            continue
        found = evidence.payments_of(sent)
        if len(found) > 1:
            yield f"{sent}: no client knows its result, and there are {_all(found)}"
        elif found and (wrong := what_differs(sent, found[0], evidence)):
            yield f"{sent}: {found[0]}: {wrong}"


def each_key_has_one_payment(evidence: Evidence) -> Iterator[str]:
    """However often and with whatever bodies a key was used, it has made one payment at most."""
    for key, requests in evidence.sent_by_key.items():
        found = {payment.id: payment for sent in requests for payment in evidence.payments_of(sent)}
        if len(found) > 1:
            yield f"key {key} has made {_all(list(found.values()))}"


def repeated_answers_are_equal(evidence: Evidence) -> Iterator[str]:
    """The same request under the same key has one definite answer, byte for byte, for ever."""
    for sent in evidence.sent:
        definite = [*sent.answers(Result.ACKNOWLEDGED), *sent.answers(Result.REFUSED)]
        for attempt in definite[1:]:
            if (attempt.status, attempt.answer) != (definite[0].status, definite[0].answer):
                yield f"{attempt}: {attempt.answer!r}, and before that {definite[0].status} {definite[0].answer!r}"


def pending_payments_keep_their_names(evidence: Evidence) -> Iterator[str]:
    """A payment that was pending is, once it is acknowledged, the same payment."""
    for sent in evidence.sent:
        names = {
            answered_payment(attempt)
            for result in (Result.PENDING, Result.ACKNOWLEDGED)
            for attempt in sent.answers(result)
        }
        if len(names) > 1:
            yield f"{sent}: its answers name {sorted(names)}"


def other_bodies_are_refused(evidence: Evidence) -> Iterator[str]:
    """When a key is used with two bodies, one of them at most gets an answer of its own."""
    for key, requests in evidence.sent_by_key.items():
        taken = [sent for sent in requests if any(map(_is_own_answer, sent.attempts))]
        if len(taken) > 1:
            yield f"key {key} was answered for {len(taken)} bodies: {[sent.body for sent in taken]}"


def nothing_was_unasked(evidence: Evidence) -> Iterator[str]:
    """Each payment was asked for in the history, but for holds that expire."""
    asked = {sent.description for sent in evidence.sent}
    for payment in evidence.payments.values():
        if payment.kind not in OF_THE_LEDGER and payment.description not in asked:
            yield f"no client asked for {payment}"


def each_account_has_one_part(evidence: Evidence) -> Iterator[str]:
    """A payment reaches each of its accounts once, also when its stages were tried several times."""
    for payment in evidence.payments.values():
        for account, parts in payment.parts.items():
            if parts > 1:
                yield f"{payment}: {account} has {parts} parts of it"


def what_differs(sent: Sent, payment: Payment, evidence: Evidence) -> str:
    """What of a payment is not as its request says; an empty text if it is."""
    if payment.kind != _KINDS[sent.kind]:
        return f"a {_KINDS[sent.kind]} was asked for"
    about = _about(sent)
    if about and payment.refers_to != about:
        return f"it refers to {payment.refers_to}, and {about} was asked for"
    if sent.kind == "hold":
        return _what_differs_of_hold(sent, payment)
    moved = {account: change for account, change in payment.moved.items() if change}
    if sent.kind == "void":
        return "it moves money" if moved else ""
    source, destination = _way(sent, evidence)
    amount = int(sent.body["amount"]) if "amount" in sent.body else moved.get(destination, 0)
    if amount > 0 and moved == {source: -amount, destination: amount}:
        return ""
    return f"{amount} from {source} to {destination} was asked for"


def _about(sent: Sent) -> str:
    """What the path of a request names: a hold to capture or void, a payment to reverse."""
    return next(iter(urlsplit(sent.path).path.split("/")[3:4]), "")


def _what_differs_of_hold(sent: Sent, payment: Payment) -> str:
    hold, amount = payment.hold, int(sent.body["amount"])
    expected = sent.body["source"], sent.body["destination"], amount
    if hold is None or (hold.source, hold.destination, hold.amount) != expected:
        return f"{expected} was asked for, and there is {hold}"
    if any(payment.moved.values()) or payment.held != {hold.source: amount}:
        return f"it moves {payment.moved} and holds {payment.held}"
    return ""


def _way(sent: Sent, evidence: Evidence) -> tuple[str, str]:
    """The payer and the payee of a request."""
    if sent.kind == "transfer":
        return sent.body["source"], sent.body["destination"]
    if sent.kind == "capture":
        hold = evidence.final.holds.get(_about(sent))
        return ("", "") if hold is None else (hold.source, hold.destination)
    original = evidence.payments.get(_about(sent))
    changes = {} if original is None else original.moved
    # The money goes back the way it came.
    payee = next((account for account, change in changes.items() if change > 0), "")
    payer = next((account for account, change in changes.items() if change < 0), "")
    return payee, payer


def _is_own_answer(attempt: Attempt) -> bool:
    if attempt.result in {Result.ACKNOWLEDGED, Result.PENDING}:
        return True
    return attempt.result is Result.REFUSED and read(attempt.answer or "", Problem).code != KEY_REUSED


def _all(payments: list[Payment]) -> str:
    return ", ".join(map(str, payments)) or "none"
