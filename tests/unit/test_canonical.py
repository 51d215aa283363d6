"""Canonical bytes, against an encoder written here from PostgreSQL's documentation of binary COPY.

"Each tuple begins with a 16-bit integer count of the number of fields in the tuple. … Then, repeated for each
field in the tuple, there is a 32-bit length word followed by that many bytes of field data. (The length word
does not include itself, and can be zero.) As a special case, -1 indicates a NULL field value."
"""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.domain.accounts import AccountKind, AccountState, AccountStatus, AccountTerms
from tallystick.domain.canonical import (
    COPY_HEADER,
    COPY_TRAILER,
    EncodedBatch,
    chain,
    chain_hash,
    encode,
    encode_account,
    encode_entry,
    encode_hold,
    encode_request,
    encode_saga,
    encode_transaction,
    genesis_hash,
)
from tallystick.domain.commands import Kind, Leg
from tallystick.domain.holds import HoldState, HoldStatus
from tallystick.domain.outcomes import RefusalCode, Refused
from tallystick.domain.rows import AccountRow, Appended, EntryRow, RequestRow, TransactionRow
from tallystick.domain.sagas import SagaState, SagaStatus, SagaTerms, read_terms, write_terms

BEGINNING_OF_POSTGRES = datetime(2000, 1, 1, tzinfo=UTC)
BEGINNING_OF_UNIX = datetime(1970, 1, 1, tzinfo=UTC)

Column = bytes | None


def smallint(value: int | None) -> Column:
    return None if value is None else value.to_bytes(2, "big", signed=True)


def integer(value: int | None) -> Column:
    return None if value is None else value.to_bytes(4, "big", signed=True)


def bigint(value: int | None) -> Column:
    return None if value is None else value.to_bytes(8, "big", signed=True)


def text(value: str | None) -> Column:
    return None if value is None else value.encode("utf-8")


def timestamptz(unix_us: int | None) -> Column:
    if unix_us is None:
        return None
    moment = BEGINNING_OF_UNIX + timedelta(microseconds=unix_us)
    return bigint((moment - BEGINNING_OF_POSTGRES) // timedelta(microseconds=1))


def copy_row(*columns: Column) -> bytes:
    written = len(columns).to_bytes(2, "big")
    for column in columns:
        length = -1 if column is None else len(column)
        written += length.to_bytes(4, "big", signed=True) + (column or b"")
    return written


def optional(values: st.SearchStrategy[int]) -> st.SearchStrategy[int | None]:
    return st.one_of(st.none(), values)


bigints = st.integers(-(2**63), 2**63 - 1)
positions = st.integers(1, 2**51 - 1)
# From the year 1 to the year 9999: what a datetime can tell.
times = st.integers(-62_000_000_000_000_000, 253_000_000_000_000_000)
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)
optional_texts = st.one_of(st.none(), texts)

transactions = st.builds(
    TransactionRow,
    position=positions,
    recorded_at_us=times,
    tenant=st.integers(1, 2**31 - 1),
    kind=st.sampled_from(Kind),
    effective_at_us=optional(times),
    refers_to=optional(positions),
    description=optional_texts,
    metadata=optional_texts,
)
entries = st.builds(
    EntryRow,
    account=bigints,
    position=positions,
    amount=bigints,
    balance=bigints,
    held=st.one_of(st.just(0), bigints),
    held_after=st.one_of(st.just(0), bigints),
    bound=optional(bigints),
    asset=texts,
)
accounts = st.builds(
    AccountRow,
    position=positions,
    state=st.builds(
        AccountState,
        terms=st.builds(
            AccountTerms,
            account=bigints,
            tenant=st.integers(1, 2**31 - 1),
            owner=texts,
            asset=texts,
            kind=st.sampled_from(AccountKind),
            status=st.sampled_from(AccountStatus),
            min_balance=optional(bigints),
            max_balance=optional(bigints),
            metadata=optional_texts,
        ),
    ),
)
holds = st.builds(
    HoldState,
    hold=positions,
    position=positions,
    account=bigints,
    destination=bigints,
    amount=bigints,
    captured=bigints,
    status=st.sampled_from(HoldStatus),
    expires_at_us=times,
)
legs = st.builds(Leg, account=positions, amount=st.integers(1, 2**63 - 1), asset=optional_texts, param=texts)
saga_terms = st.builds(
    SagaTerms,
    operation=st.sampled_from(Kind),
    other_shard=st.integers(1, 4095),
    debits=st.lists(legs, max_size=3).map(tuple),
    credits=st.lists(legs, max_size=3).map(tuple),
    refers_to=optional(positions),
    final=st.booleans(),
)
sagas = st.builds(
    SagaState,
    saga=positions,
    position=positions,
    status=st.sampled_from(SagaStatus),
    tenant=st.integers(1, 2**31 - 1),
    terms=saga_terms,
    counterpart=optional(positions),
    refusal=st.one_of(
        st.none(), st.builds(Refused, code=st.sampled_from(RefusalCode), param=optional_texts, detail=texts)
    ),
)
keys = st.binary(min_size=16, max_size=16)
fingerprints = st.binary(min_size=1, max_size=80)
requests = st.one_of(
    st.builds(
        RequestRow,
        key=keys,
        position=positions,
        batch=st.none(),
        code=st.none(),
        param=st.none(),
        detail=st.none(),
        fingerprint=fingerprints,
    ),
    st.builds(
        RequestRow,
        key=keys,
        position=st.none(),
        batch=positions,
        code=st.sampled_from(RefusalCode),
        param=optional_texts,
        detail=optional_texts,
        fingerprint=fingerprints,
    ),
)


def expected_transaction(row: TransactionRow) -> bytes:
    return copy_row(
        bigint(row.position),
        timestamptz(row.recorded_at_us),
        integer(row.tenant),
        smallint(row.kind),
        timestamptz(row.effective_at_us),
        bigint(row.refers_to),
        text(row.description),
        text(row.metadata),
    )


def expected_entry(row: EntryRow) -> bytes:
    return copy_row(
        bigint(row.account),
        bigint(row.position),
        bigint(row.amount),
        bigint(row.balance),
        bigint(row.held or None),
        bigint(row.held_after or None),
        bigint(row.bound),
        text(row.asset),
    )


def expected_account(row: AccountRow) -> bytes:
    terms = row.state.terms
    return copy_row(
        bigint(terms.account),
        bigint(row.position),
        integer(terms.tenant),
        smallint(terms.kind),
        smallint(terms.status),
        bigint(terms.min_balance),
        bigint(terms.max_balance),
        text(terms.owner),
        text(terms.asset),
        text(terms.metadata),
    )


def expected_hold(hold: HoldState) -> bytes:
    return copy_row(
        bigint(hold.hold),
        bigint(hold.position),
        bigint(hold.account),
        bigint(hold.destination),
        bigint(hold.amount),
        bigint(hold.captured),
        timestamptz(hold.expires_at_us),
        smallint(hold.status),
    )


def expected_saga(saga: SagaState) -> bytes:
    refusal = saga.refusal
    return copy_row(
        bigint(saga.saga),
        bigint(saga.position),
        smallint(saga.status),
        bigint(saga.counterpart),
        smallint(refusal.code if refusal else None),
        text(refusal.param if refusal else None),
        text(refusal.detail if refusal else None),
        # What was agreed is written once.
        text(write_terms(saga.terms) if saga.status is SagaStatus.RESERVED else None),
    )


def expected_request(row: RequestRow) -> bytes:
    return copy_row(
        row.key,
        bigint(row.position),
        bigint(row.batch),
        smallint(row.code),
        text(row.param),
        text(row.detail),
        row.fingerprint,
    )


@given(transactions)
def test_transaction(row: TransactionRow) -> None:
    assert encode_transaction(row) == expected_transaction(row)


@given(entries)
def test_entry(row: EntryRow) -> None:
    assert encode_entry(row) == expected_entry(row)


@given(accounts)
def test_account(row: AccountRow) -> None:
    assert encode_account(row) == expected_account(row)


@given(holds)
def test_hold(hold: HoldState) -> None:
    assert encode_hold(hold) == expected_hold(hold)


@given(sagas)
def test_saga(saga: SagaState) -> None:
    assert encode_saga(saga) == expected_saga(saga)


@given(saga_terms)
def test_terms_of_a_saga_can_be_read_again(terms: SagaTerms) -> None:
    assert read_terms(write_terms(terms)) == terms


@given(requests)
def test_request(row: RequestRow) -> None:
    assert encode_request(row) == expected_request(row)


# The usual rows take a path of their own through the encoder. That Hypothesis finds them is not left to chance.


@given(position=positions, at=times, tenant=st.integers(1, 2**31 - 1), kind=st.sampled_from(Kind))
def test_transaction_without_a_note(position: int, at: int, tenant: int, kind: Kind) -> None:
    row = TransactionRow(position, at, tenant, kind, None, None, None, None)
    assert encode_transaction(row) == expected_transaction(row)


@given(row=entries, bound=optional(bigints))
def test_entry_with_nothing_held(row: EntryRow, bound: int | None) -> None:
    plain = row._replace(held=0, held_after=0, bound=bound)
    assert encode_entry(plain) == expected_entry(plain)


@pytest.mark.parametrize(
    "row",
    [
        TransactionRow(1, 0, 1, Kind.TRANSFER, 0, None, None, None),
        TransactionRow(1, 0, 1, Kind.TRANSFER, None, 1, None, None),
        TransactionRow(1, 0, 1, Kind.TRANSFER, None, None, "", None),
        TransactionRow(1, 0, 1, Kind.TRANSFER, None, None, None, "{}"),
        TransactionRow(2**51 - 1, -1, 2**31 - 1, Kind.HOLD_EXPIRED, -1, 2**51 - 1, "naïve ✓ 🂡", '{"a":"é"}'),
    ],
)
def test_one_field_is_enough_to_leave_the_usual_path(row: TransactionRow) -> None:
    assert encode_transaction(row) == expected_transaction(row)


def batches() -> st.SearchStrategy[Appended]:
    return st.builds(
        Appended,
        transactions=st.lists(transactions, max_size=4),
        entries=st.lists(entries, max_size=4),
        accounts=st.lists(accounts, max_size=2),
        holds=st.lists(holds, max_size=2),
        sagas=st.lists(sagas, max_size=2),
        # A key is claimed once: the table has it as its primary key.
        requests=st.lists(requests, max_size=4, unique_by=lambda row: row.key),
    )


@given(batches())
def test_tables_are_in_an_order_that_they_can_give_back(appended: Appended) -> None:
    posted = sorted(
        (row for row in appended.requests if row.position is not None), key=lambda row: row.position or 0
    )
    refused = sorted((row for row in appended.requests if row.position is None), key=lambda row: row.key)
    # Commands are decided in order, so whatever they post comes by position; refusals fall anywhere between.
    mixed = refused[::2] + posted + refused[1::2]
    assert encode(appended._replace(requests=mixed)) == EncodedBatch(
        b"".join(map(expected_transaction, appended.transactions)),
        b"".join(
            map(expected_entry, sorted(appended.entries, key=lambda entry: (entry.position, entry.account)))
        ),
        b"".join(map(expected_account, appended.accounts)),
        b"".join(map(expected_hold, appended.holds)),
        b"".join(map(expected_request, posted + refused)),
        b"".join(map(expected_saga, appended.sagas)),
    )


def test_header_and_trailer() -> None:
    # "11-byte sequence PGCOPY\n\377\r\n\0", flags, length of the header's extension; then -1 as a 16-bit word.
    assert bytes([80, 71, 67, 79, 80, 89, 10, 255, 13, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0]) == COPY_HEADER
    assert bytes([255, 255]) == COPY_TRAILER


# The chain.

_table = st.binary(max_size=12)
tables = st.builds(EncodedBatch, _table, _table, _table, _table, _table, _table)
PREVIOUS = bytes(range(32))


@given(rows=tables, data=st.data())
def test_chain_covers_every_byte(rows: EncodedBatch, data: st.DataObject) -> None:
    hashed = chain_hash(PREVIOUS, 7, 9, 11, rows)
    for table, written in enumerate(rows):
        for place in range(len(written)):
            flipped = written[place] ^ data.draw(st.integers(1, 255))
            changed = written[:place] + bytes([flipped]) + written[place + 1 :]
            other = rows._replace(**{EncodedBatch._fields[table]: changed})
            assert chain_hash(PREVIOUS, 7, 9, 11, other) != hashed


@pytest.mark.parametrize("place", range(32))
def test_chain_covers_the_hash_before(place: int) -> None:
    rows = EncodedBatch(b"a", b"b", b"c", b"d", b"e")
    other = PREVIOUS[:place] + bytes([PREVIOUS[place] ^ 1]) + PREVIOUS[place + 1 :]
    assert chain_hash(other, 1, 2, 3, rows) != chain_hash(PREVIOUS, 1, 2, 3, rows)


@given(rows=tables, first=st.tuples(bigints, bigints, bigints), second=st.tuples(bigints, bigints, bigints))
def test_chain_covers_the_batch_numbers(
    rows: EncodedBatch, first: tuple[int, int, int], second: tuple[int, int, int]
) -> None:
    assert (chain_hash(PREVIOUS, *first, rows) == chain_hash(PREVIOUS, *second, rows)) == (first == second)


@given(joined=st.binary(max_size=6), first=st.integers(0, 6), second=st.integers(0, 6))
def test_bytes_cannot_wander_from_table_to_table(joined: bytes, first: int, second: int) -> None:
    one = EncodedBatch(joined[:first], joined[first:], b"", b"", b"")
    two = EncodedBatch(joined[:second], joined[second:], b"", b"", b"")
    assert (chain_hash(PREVIOUS, 1, 2, 3, one) == chain_hash(PREVIOUS, 1, 2, 3, two)) == (one == two)


def test_chain_is_what_its_documentation_says() -> None:
    rows = EncodedBatch(b"transactions", b"entries", b"", b"holds", b"requests")
    covered = PREVIOUS
    for number in (7, 9, 11):
        covered += number.to_bytes(8, "big")
    for table in rows[:5]:
        covered += len(table).to_bytes(8, "big") + table
    row = chain(PREVIOUS, 7, 9, 11, rows)
    assert row.hash == hashlib.sha256(covered).digest() == chain_hash(PREVIOUS, 7, 9, 11, rows)
    assert (row.number, row.last_position, row.recorded_at_us, row.previous_hash) == (7, 9, 11, PREVIOUS)


def test_chain_covers_sagas_where_there_are_any() -> None:
    without = EncodedBatch(b"transactions", b"entries", b"", b"holds", b"requests", b"")
    covered = PREVIOUS
    for number in (7, 9, 11):
        covered += number.to_bytes(8, "big")
    for table in (*without[:5], b"sagas"):
        covered += len(table).to_bytes(8, "big") + table
    hashed = chain_hash(PREVIOUS, 7, 9, 11, without._replace(sagas=b"sagas"))
    assert hashed == hashlib.sha256(covered).digest() != chain_hash(PREVIOUS, 7, 9, 11, without)


def test_shards_have_chains_of_their_own() -> None:
    hashes: Sequence[bytes] = [genesis_hash(shard) for shard in range(1, 4096)]
    assert len(set(hashes)) == len(hashes)
    assert {len(hashed) for hashed in hashes} == {32}
