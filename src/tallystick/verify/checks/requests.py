"""Requests: each claims one position that holds what it asked for, or a refusal with a known code in a batch.

An attacker that rewrites the log has to rewrite the fingerprints of requests, too. Then a caller that repeats its
request gets the answer that it was another one. A fingerprint has longer texts and lists of entries as digests, which
are not compared.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from tallystick.domain.commands import SENT_KINDS, Kind
from tallystick.domain.fingerprint import FIELDS, RequestKind, asked_for
from tallystick.domain.identifiers import local_of
from tallystick.domain.outcomes import RefusalCode
from tallystick.domain.rows import BatchRow, EntryRow
from tallystick.domain.sagas import Step, credit_request, promise_end_request, read_terms
from tallystick.verify.problems import Findings, ProblemKind
from tallystick.verify.rows import Claim, Posting, TransactionHead

# The kinds that may be posted for a request, by its operation.
_KINDS: Final[Mapping[RequestKind, frozenset[Kind]]] = {
    RequestKind.OPEN_ACCOUNT: frozenset({Kind.ACCOUNT_OPENED}),
    RequestKind.CHANGE_ACCOUNT: frozenset({Kind.ACCOUNT_CHANGED}),
    RequestKind.TRANSFER: frozenset({Kind.TRANSFER, Kind.TRANSFER_RESERVED, SENT_KINDS[Kind.TRANSFER]}),
    RequestKind.TRANSACTION: frozenset(
        {Kind.TRANSACTION, Kind.TRANSFER_RESERVED, SENT_KINDS[Kind.TRANSACTION]}
    ),
    RequestKind.HOLD: frozenset({Kind.HOLD_PLACED}),
    RequestKind.CAPTURE: frozenset({Kind.HOLD_CAPTURED, Kind.TRANSFER_RESERVED}),
    RequestKind.VOID: frozenset({Kind.HOLD_VOIDED}),
    RequestKind.REVERSE: frozenset({Kind.REVERSAL, Kind.TRANSFER_RESERVED}),
}


def contradiction(fingerprint: bytes, posting: Posting) -> str | None:
    """How the posted transaction differs from its request, in words; None if no difference is known."""
    asked = asked_for(fingerprint)
    if asked is None:
        return "the fingerprint of the request that claims this position cannot be read"
    operation, values = asked
    kind = posting.transaction.kind
    if kind not in _KINDS[operation]:
        return f"a request for {_name(operation)} claims this position, which is of another kind"
    judge = _JUDGES.get((operation, Kind(kind)))
    if judge is None:
        return None
    field = judge(dict(zip(FIELDS[operation], values, strict=False)), posting)
    return None if field is None else f"it was posted with another {field} than the request asked for"


def _name(operation: RequestKind) -> str:
    return operation.name.lower().replace("_", " ")


_Asked = Mapping[str, object]


def _transfer(asked: _Asked, posting: Posting) -> str | None:
    moved = {entry.account: entry for entry in posting.entries}
    amount = asked.get("amount")
    if not all(_moves(entry, amount, asked.get("asset")) for entry in posting.entries):
        return "amount or asset"
    payer = next((account for account, entry in moved.items() if entry.amount < 0), None)
    payee = next((account for account, entry in moved.items() if entry.amount > 0), None)
    return _first_other((("source", payer), ("destination", payee)), asked)


def _moves(entry: EntryRow, amount: object, asset: object) -> bool:
    return entry.asset == asset and amount in {entry.amount, -entry.amount}


def _reserved_transfer(asked: _Asked, posting: Posting) -> str | None:
    if len(posting.sagas) != 1 or posting.sagas[0].terms is None:
        return None  # the check of its shape finds this
    terms = read_terms(posting.sagas[0].terms)
    for legs, field in ((terms.debits, "source"), (terms.credits, "destination")):
        for leg in legs:
            if (leg.amount, leg.asset) != (asked.get("amount"), asked.get("asset")):
                return "amount or asset"
            if (found := _first_other(((field, leg.account),), asked)) is not None:
                return found
    return None


def _hold(asked: _Asked, posting: Posting) -> str | None:
    for hold in posting.holds:
        if hold.amount != asked.get("amount"):
            return "amount"
        return _first_other((("source", hold.account), ("destination", hold.destination)), asked)
    return None


def _capture(asked: _Asked, posting: Posting) -> str | None:
    return _of_hold(asked, posting) or _part(asked, posting)


def _of_hold(asked: _Asked, posting: Posting) -> str | None:
    said = asked.get("id")
    return None if isinstance(said, int) and local_of(said) == posting.transaction.refers_to else "hold"


def _part(asked: _Asked, posting: Posting) -> str | None:
    """The amount of a capture or a reversal, if the request had one.

    A transaction of several payers is reversed whole.
    """
    amount = asked.get("amount")
    received = [entry.amount for entry in posting.entries if entry.amount > 0]
    return "amount" if isinstance(amount, int) and len(received) == 1 and received[0] != amount else None


def _opened(asked: _Asked, posting: Posting) -> str | None:
    for account in posting.accounts:
        # A fingerprint has a long owner as its digest.
        if isinstance(asked.get("owner"), str) and asked["owner"] != account.owner:
            return "owner"
        return "asset" if asked.get("asset") != account.asset else None
    return None


def _changed(asked: _Asked, posting: Posting) -> str | None:
    for account in posting.accounts:
        return _first_other((("id", account.account),), asked)
    return None


def _first_other(found: Sequence[tuple[str, int | None]], asked: _Asked) -> str | None:
    """The first account that differs from the request. A request may name a system owner instead of an account."""
    return next(
        (field for field, account in found if isinstance(asked.get(field), int) and asked[field] != account),
        None,
    )


_JUDGES: Final[Mapping[tuple[RequestKind, Kind], Callable[[_Asked, Posting], str | None]]] = {
    (RequestKind.TRANSFER, Kind.TRANSFER): _transfer,
    (RequestKind.TRANSFER, Kind.TRANSFER_RESERVED): _reserved_transfer,
    (RequestKind.HOLD, Kind.HOLD_PLACED): _hold,
    (RequestKind.CAPTURE, Kind.HOLD_CAPTURED): _capture,
    (RequestKind.VOID, Kind.HOLD_VOIDED): _of_hold,
    (RequestKind.REVERSE, Kind.REVERSAL): _part,
    (RequestKind.OPEN_ACCOUNT, Kind.ACCOUNT_OPENED): _opened,
    (RequestKind.CHANGE_ACCOUNT, Kind.ACCOUNT_CHANGED): _changed,
}


# These are never recorded: a reused key belongs to the earlier request; a busy hold and a limit are temporary.
RECORDED_CODES: Final = frozenset(map(int, RefusalCode)) - {
    int(RefusalCode.IDEMPOTENCY_KEY_REUSED),
    int(RefusalCode.HOLD_BUSY),
    int(RefusalCode.RATE_LIMITED),
}

# The steps of a saga on the payees' shards. Their keys are derived from the saga.
_STEP_KINDS: Final[dict[int, str]] = {
    Kind.TRANSFER_CREDITED: "the credit",
    Kind.TRANSFER_PROMISED: "the promise",
    Kind.TRANSFER_CONFIRMED: "the confirmation",
    Kind.TRANSFER_REVOKED: "the revocation",
}
_PROMISE_ENDS: Final[dict[int, Step]] = {
    Kind.TRANSFER_CONFIRMED: Step.CONFIRM,
    Kind.TRANSFER_REVOKED: Step.REVOKE,
}


class Requests:
    """A request claims one position, which holds what it asked for, or a refusal that exists; a step its saga's key.

    It takes the claims in the order of the log.
    """

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._last_position = 0

    def judge_posted(self, claims: Iterable[Claim], postings: Mapping[int, Posting]) -> None:
        """Judge the claims of a slice's positions."""
        step_keys = {
            position: key
            for position, posting in postings.items()
            if posting.transaction.kind in _STEP_KINDS
            and (key := _key_of_step(posting.transaction)) is not None
        }
        for key, position, batch, code, fingerprint in claims:
            if position is None:
                continue
            if repeated := position == self._last_position:
                self._note_position(position, "two requests claim this position")
            posting = postings.get(position)
            if posting is None:
                self._note_position(position, "a request claims this position, and no transaction is there")
            elif posting.transaction.kind in _STEP_KINDS:
                if key != step_keys.pop(position, key):
                    self._note_position(
                        position, f"{_step(posting)} of a saga is claimed by another key than the saga's"
                    )
            elif not repeated and (wrong := contradiction(fingerprint, posting)) is not None:
                self._findings.at_position(ProblemKind.REQUEST_CONTRADICTED, position, wrong)
            if batch is not None or code is not None:
                self._note_position(position, "the request that claims this position was refused as well")
            self._last_position = position
        for position in step_keys:
            step = _step(postings[position])
            self._note_position(position, f"{step} of a saga is not claimed by the saga's key")

    def judge_refused(self, claims: Iterable[Claim], batch: BatchRow) -> None:
        """Judge the refusals that a batch recorded."""
        for claim in claims:
            if claim.batch != batch.number:
                self.judge_lost((claim,), batch.last_position)
            if claim.code not in RECORDED_CODES:
                self._findings.with_batch(
                    ProblemKind.REQUEST_WRONG,
                    batch.number,
                    batch.last_position,
                    f"a request was refused with the code {claim.code}, which is none",
                )

    def judge_lost(self, claims: Iterable[Claim], last_position: int) -> None:
        """Judge refusals of batches that do not exist."""
        for claim in claims:
            detail = "a request was refused in this batch, and there is no such batch"
            self._findings.with_batch(ProblemKind.REQUEST_WRONG, claim.batch or 0, last_position, detail)

    def _note_position(self, position: int, detail: str) -> None:
        self._findings.at_position(ProblemKind.REQUEST_WRONG, position, detail)


def _key_of_step(transaction: TransactionHead) -> bytes | None:
    """The key that a step of a saga must have; None if it refers to no saga, which the check of its shape finds."""
    saga, step = transaction.refers_to, _PROMISE_ENDS.get(transaction.kind)
    if saga is None or saga < 0:
        return None
    return credit_request(saga).key if step is None else promise_end_request(saga, step).key


def _step(posting: Posting) -> str:
    return _STEP_KINDS[posting.transaction.kind]
