"""What a caller in Python sends that is not of the right type: said by name, before anything is looked up."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from tallystick import Ledger, ParameterError
from tallystick.domain.identifiers import Prefix, format_identifier, make_identifier
from tallystick.service.engine import Engine

ALICE, BOB = (format_identifier(Prefix.ACCOUNT, make_identifier(1, number)) for number in (1, 2))
HOLD = format_identifier(Prefix.HOLD, make_identifier(1, 1))
PAYMENT: dict[str, Any] = {
    "source": ALICE, "destination": BOB, "amount": 1, "asset": "USD", "idempotency_key": "a key"
}  # fmt: skip


@pytest.fixture
def ledger() -> Ledger:
    """It is not started: whatever came as far as the database would fail."""
    return Ledger(Engine({1: "host=/nowhere dbname=nothing"}), 1)


@pytest.mark.parametrize("call", ["transfer", "hold"])
@pytest.mark.parametrize(
    ("param", "value", "words"),
    [
        ("amount", 12.5, "not float"),
        ("amount", 1.0, "not float"),
        ("amount", True, "not bool"),
        ("amount", None, "not NoneType"),
        ("amount", "12.50", "an integer of minor units"),
        ("amount", -1, "more than zero"),
        ("amount", 0, "more than zero"),
        ("amount", 2**63, "at most 9223372036854775807"),
        ("source", 5, "not int"),
        ("source", None, "not NoneType"),
        ("destination", 5, "not int"),
        ("asset", 5, "not int"),
        ("asset", None, "not NoneType"),
        ("idempotency_key", 5, "not int"),
        ("description", 5, "not int"),
        ("metadata", "text", "not str"),
        ("metadata", {"order": 17}, "not int"),
        ("effective_at", "2026-01-31T12:00:00Z", "not str"),
        ("effective_at", datetime(2026, 1, 31), "with its zone"),  # noqa: DTZ001
    ],
)
async def test_a_payment(ledger: Ledger, call: str, param: str, value: object, words: str) -> None:
    with pytest.raises(ParameterError) as told:
        await getattr(ledger, call)(**{**PAYMENT, param: value})
    assert told.value.param.split(".")[0] == {"idempotency_key": "Idempotency-Key"}.get(param, param)
    assert words in told.value.detail
    assert isinstance(told.value, ValueError)


WRONG: list[tuple[str, Callable[[Any], Awaitable[object]]]] = [
    ("expires_in", lambda ledger: ledger.hold(**PAYMENT, expires_in_seconds=1.5)),
    ("amount", lambda ledger: ledger.capture(HOLD, 1.5, idempotency_key="a key")),
    ("id", lambda ledger: ledger.capture(5, idempotency_key="a key")),
    ("id", lambda ledger: ledger.balance(5)),
    ("at", lambda ledger: ledger.balance(ALICE, at="yesterday")),
    ("min_position", lambda ledger: ledger.balance(ALICE, min_position=1.5)),
    ("limit", lambda ledger: ledger.entries(ALICE, limit=1.5)),
    ("cursor", lambda ledger: ledger.entries(ALICE, cursor=5)),
    ("owner", lambda ledger: ledger.open_account(5, "USD")),
    ("kind", lambda ledger: ledger.open_account("alice", "USD", kind=["wallet"])),
    ("min_balance", lambda ledger: ledger.open_account("alice", "USD", min_balance=0.5)),
    ("entries[0].amount", lambda ledger: ledger.post([(ALICE, -1.5), (BOB, 1.5)], idempotency_key="a key")),
    ("entries[1].account", lambda ledger: ledger.post([(ALICE, -1), (5, 1)], idempotency_key="a key")),
]


@pytest.mark.parametrize(("param", "call"), WRONG)
async def test_other_calls(ledger: Ledger, param: str, call: Callable[[Any], Awaitable[object]]) -> None:
    with pytest.raises(ParameterError) as told:
        await call(ledger)
    assert told.value.param == param


def test_the_times_of_these_tests_are_past() -> None:
    assert datetime(2026, 1, 31, tzinfo=UTC) < datetime.now(UTC)
