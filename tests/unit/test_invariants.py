"""What a rule, or the log, must have made and did not is an error that is heard of, and no zero or empty text."""

import msgspec
import pytest

from tallystick import views
from tallystick.domain.accounts import AccountKind, AccountState, AccountStatus, AccountTerms
from tallystick.domain.commands import NO_NOTE, Kind, Leg
from tallystick.domain.derived_accounts import Derivation
from tallystick.domain.identifiers import make_identifier
from tallystick.domain.invariants import BrokenInvariantError, required
from tallystick.domain.outcomes import RefusalCode, Refused
from tallystick.domain.record import Record, payment_of
from tallystick.domain.rows import TransactionRow
from tallystick.domain.rules.saga_steps import totals_of
from tallystick.domain.saga_commands import Finalize
from tallystick.domain.sagas import SagaState, SagaStatus, SagaTerms, asked_of
from tallystick.domain.snapshot import Head, Snapshot
from tallystick.store.log import recorded_request, saga_state
from tests.oracle.deciding import decide

SHARD = 1
NOW_US = 1_700_000_000_000_000
PAYER, PAYEE = make_identifier(SHARD, 10), make_identifier(2, 20)
UNKNOWN = Leg(PAYEE, 5, None, "destination")
TERMS = SagaTerms(
    operation=Kind.TRANSFER,
    other_shard=2,
    debits=(Leg(PAYER, 5, "USD", "source"),),
    credits=(Leg(PAYEE, 5, "USD", "destination"),),
)
CAPTURE = msgspec.structs.replace(TERMS, operation=Kind.HOLD_CAPTURED)


def row(kind: Kind, refers_to: int | None = None) -> TransactionRow:
    return TransactionRow(7, NOW_US, 1, kind, None, refers_to, None, None)


def saga(terms: SagaTerms) -> SagaState:
    return SagaState(7, 7, SagaStatus.RESERVED, 1, terms, NO_NOTE, NOW_US)


def test_what_is_there_is_given_back() -> None:
    assert required(0, "a number") == 0
    assert required("", "a text") == ""
    with pytest.raises(BrokenInvariantError, match="a number is missing"):
        required(None, "a number")


@pytest.mark.parametrize(
    "kind", [Kind.TRANSFER_CREDITED, Kind.TRANSFER_PROMISED, Kind.TRANSFER_FINALIZED, Kind.TRANSFER_RELEASED]
)
def test_a_stage_names_what_it_is_a_stage_of(kind: Kind) -> None:
    with pytest.raises(BrokenInvariantError, match=r"position 7 .* refers to is missing"):
        payment_of(SHARD, row(kind))
    assert payment_of(SHARD, row(Kind.TRANSFER)) == make_identifier(SHARD, 7)


def test_terms_of_a_capture_name_the_hold() -> None:
    with pytest.raises(BrokenInvariantError, match=r"terms of a saga .* refer to is missing"):
        asked_of(SHARD, CAPTURE)


@pytest.mark.parametrize(
    ("refers_to", "said"),
    [(None, "refer to is missing"), (3, "the hold of position 3, which saga 7 captures")],
)
def test_a_capture_that_ends_finds_its_hold(refers_to: int | None, said: str) -> None:
    account = AccountTerms(PAYER, 1, "alice", "USD", AccountKind.WALLET, AccountStatus.OPEN, 0, None)
    snapshot = Snapshot(
        derivation=Derivation(SHARD, bytes(32)),
        head=Head(1, 7, NOW_US, bytes(32)),
        accounts={PAYER: AccountState(account, 5, 5, 6)},
        holds={},
        sagas={7: saga(msgspec.structs.replace(CAPTURE, refers_to=refers_to))},
        originals={},
        requests={},
    )
    command = Finalize(tenant=1, saga=make_identifier(SHARD, 7), terms=CAPTURE, counterpart=9)
    with pytest.raises(BrokenInvariantError, match=said):
        decide(snapshot, [command], NOW_US)


def test_what_moves_has_an_asset() -> None:
    with pytest.raises(BrokenInvariantError, match=f"the asset of a leg of account {PAYEE} is missing"):
        totals_of([UNKNOWN])


def test_what_is_shown_has_an_asset() -> None:
    terms = msgspec.structs.replace(TERMS, credits=(UNKNOWN,))
    record = Record(row(Kind.TRANSFER_RESERVED), (), saga=saga(terms))
    with pytest.raises(BrokenInvariantError, match="the asset of a leg"):
        views.transaction_view(SHARD, record)
    with pytest.raises(BrokenInvariantError, match="the asset of a leg"):
        views.event_view(SHARD, record, stages=True)


@pytest.mark.parametrize(
    ("code", "detail", "said"),
    [(None, "why", "the code of a refusal"), (80, None, "the detail of a refusal")],
)
def test_a_refusal_in_the_log_says_why(code: int | None, detail: str | None, said: str) -> None:
    with pytest.raises(BrokenInvariantError, match=said):
        recorded_request(None, code, None, detail, b"")


def test_a_refusal_of_a_saga_says_why() -> None:
    columns = (7, 8, 3, 1, "[10,2,[],[]]", None, None, None, NOW_US, None, 80, None)
    assert saga_state((*columns, "why")).refusal == Refused(RefusalCode.INSUFFICIENT_FUNDS, None, "why")
    with pytest.raises(BrokenInvariantError, match="the detail of a refusal"):
        saga_state((*columns, None))
