"""The public types: integers and times in Python, and in JSON what the API promises."""

import json
from typing import Any

import msgspec
import pytest

import tallystick
from tallystick import views
from tallystick.domain.commands import Kind
from tallystick.domain.identifiers import make_identifier
from tallystick.domain.outcomes import RefusalCode, refuse
from tallystick.domain.record import Record
from tallystick.domain.rows import EntryRow, TransactionRow
from tallystick.views.encoding import encode
from tallystick.views.events import refusal_view

LARGEST = 2**63 - 1
PAYER, PAYEE = make_identifier(1, 7), make_identifier(1, 8)
POSTED = Record(
    TransactionRow(12, 1_700_000_000_000_001, 1, Kind.TRANSFER, None, None, None, '{"order":"4711"}'),
    (
        EntryRow(PAYER, 12, -LARGEST, 0, 0, 0, 0, "USD"),
        EntryRow(PAYEE, 12, LARGEST, LARGEST, 0, 5, None, "USD"),
    ),
)
AMOUNTS = {"amount", "balance", "held", "held_after", "available", "captured", "remaining"}
AMOUNTS |= {"min_balance", "max_balance"}


def amounts_in(found: Any) -> list[Any]:
    """What stands under the names of amounts, but for what is missing."""
    if isinstance(found, list):
        return [amount for one in found for amount in amounts_in(one)]
    if not isinstance(found, dict):
        return []
    mine = [value for name, value in found.items() if name in AMOUNTS and value is not None]
    return mine + [amount for value in found.values() for amount in amounts_in(value)]


def test_amounts_are_integers_in_python() -> None:
    payer, payee = views.transaction_view(1, POSTED).entries
    assert isinstance(payer.amount, int)
    assert (payer.amount, payee.balance) == (-LARGEST, LARGEST)
    assert payer.amount + payee.amount == 0
    assert f"{payer.amount} {payee.amount!r}" == f"-{LARGEST} {LARGEST}"
    assert json.loads(json.dumps(payee.amount)) == LARGEST


def test_amounts_are_text_in_json() -> None:
    found = msgspec.json.decode(encode(views.event_view(1, POSTED, stages=False)))
    assert amounts_in(found) == [str(-LARGEST), "0", "0", "0", str(LARGEST), str(LARGEST), "0", "5"]
    assert found["position"] == 12
    assert found["recorded_at"] == "2023-11-14T22:13:20.000001Z"
    assert found["metadata"] == {"order": "4711"}


def test_every_amount_of_a_public_type_is_one() -> None:
    """A field that has the name of an amount is no plain integer, which would be a number in JSON."""
    fields = [
        (name, field.name, str(field.type))
        for name in tallystick.__all__
        if isinstance(found := getattr(tallystick, name), type)
        and issubclass(found, msgspec.Struct)
        and found.__module__.startswith("tallystick.views")
        for field in msgspec.structs.fields(found)
        if field.name in AMOUNTS
    ]
    assert len(fields) > 20
    assert [field for field in fields if "MinorUnits" not in field[2]] == []


def test_nothing_but_amounts_is_unknown_to_the_encoder() -> None:
    with pytest.raises(TypeError):
        encode({"amount": object()})


def test_what_was_refused_on_the_other_shard_is_told_as_it_was_decided() -> None:
    refused = refuse(RefusalCode.INSUFFICIENT_FUNDS, "amount")
    found = refusal_view(refused)
    assert (found.code, found.param, found.detail) == (refused.code, refused.param, refused.detail)
    assert msgspec.json.decode(encode(found)) == {
        "code": "insufficient_funds",
        "param": "amount",
        "detail": refused.detail,
    }


def test_a_crossing_entry_unpacks() -> None:
    account, asset, amount = views.CrossingEntry("acct_1", "USD", views.MinorUnits(-5))
    assert (account, asset, amount) == ("acct_1", "USD", -5)


def test_the_page_after_is_named_in_json_as_its_parameter_is() -> None:
    assert encode(views.Events([], 5)) == b'{"items":[],"next_after":5}'
    assert views.Events([], 5).position == 5


def test_earlier_names_can_still_be_imported() -> None:
    assert tallystick.ShardProgress is views.WebhookProgress
