"""The calls about reports: the trial balance, balances by label, and statements, also as CSV."""

import csv
import io
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Final

from msgspec import Meta, Struct

from tallystick import views
from tallystick.api.calls import Call, Operation
from tallystick.api.fields import PastTime
from tallystick.api.requests import PageQuery
from tallystick.domain import limits
from tallystick.domain.access import Action
from tallystick.domain.outcomes import RefusalCode
from tallystick.views.encoding import encode

CSV_COLUMNS: Final = (
    "recorded_at", "effective_at", "transaction", "kind", "description", "counterparties", "amount", "balance",
)  # fmt: skip
_FORMULA_SIGNS: Final = ("=", "+", "-", "@", "\t", "\r")
"""What a text begins with that spreadsheets take for a formula (OWASP, CSV injection)."""


class TrialBalanceQuery(Struct, forbid_unknown_fields=True, kw_only=True):
    """The time of the report: now by default."""

    at: PastTime | None = None


class BalanceGroupsQuery(PageQuery, forbid_unknown_fields=True, kw_only=True):
    """What balances are summed by, and when."""

    by: Annotated[
        str,
        Meta(
            description="`owner`, `kind`, or `metadata.` and a key of the accounts' metadata.",
            examples=["metadata.branch"],
            extra_json_schema={"pattern": r"^(owner|kind|metadata\..{1,64})$"},
        ),
    ]
    at: PastTime | None = None


class StatementQuery(PageQuery, forbid_unknown_fields=True, kw_only=True):
    """The period of a statement, by recorded time."""

    since: Annotated[datetime, Meta(description="The beginning of the period.")]
    until: Annotated[
        datetime, Meta(description="The end of the period, which is not in it, and not in the future.")
    ]


async def trial_balance(call: Call) -> views.TrialBalance:
    """Make the trial balance."""
    query: TrialBalanceQuery = call.query
    return await call.ledger.trial_balance(at=query.at)


async def balance_groups(call: Call) -> views.BalanceGroups:
    """Sum balances by a label."""
    query: BalanceGroupsQuery = call.query
    return await call.ledger.balance_groups(query.by, at=query.at, cursor=query.cursor, limit=query.limit)


async def statement(call: Call) -> views.Statement:
    """Make a page of a statement."""
    query: StatementQuery = call.query
    return await call.ledger.statement(
        call.identifier, query.since, query.until, cursor=query.cursor, limit=query.limit
    )


async def statement_table(call: Call) -> AsyncIterator[bytes]:
    """Make a whole statement as CSV (RFC 4180): the first part now, the others as they are sent."""
    query: StatementQuery = call.query
    first = await call.ledger.statement(
        call.identifier, query.since, query.until, cursor=query.cursor, limit=limits.PAGE_ROWS_MAX
    )
    return _table(call, query, first)


async def _table(call: Call, query: StatementQuery, page: views.Statement) -> AsyncIterator[bytes]:
    opening = ("", "", "", "opening_balance", "", "", "", str(int(page.opening_balance)))
    yield _rows([CSV_COLUMNS, opening])
    while True:
        yield _rows([_row(line) for line in page.items])
        if page.next_cursor is None:
            break
        page = await call.ledger.statement(
            call.identifier, query.since, query.until, cursor=page.next_cursor, limit=limits.PAGE_ROWS_MAX
        )
    yield _rows([("", "", "", "closing_balance", "", "", "", str(int(page.closing_balance)))])


def _row(line: views.StatementLine) -> tuple[str, ...]:
    return (
        _time(line.recorded_at),
        _time(line.effective_at),
        line.transaction,
        line.kind,
        _text(line.description or ""),
        " ".join(line.counterparties),
        str(int(line.amount)),
        str(int(line.balance)),
    )


def _time(time: datetime) -> str:
    """A time as JSON has it."""
    return encode(time).decode().strip('"')


def _text(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(_FORMULA_SIGNS) else text


def _rows(rows: list[tuple[str, ...]]) -> bytes:
    written = io.StringIO()
    csv.writer(written).writerows(rows)
    return written.getvalue().encode()


_READ: Final = Action.READ_BOOKS

REPORT_OPERATIONS: Final[tuple[Operation, ...]] = (
    Operation(
        "GET", "/v1/accounts/{identifier}/statement", _READ, "getStatement",
        "Get an account's statement for a period", statement, views.Statement, query=StatementQuery,
        table=statement_table, refusals=(RefusalCode.ACCOUNT_NOT_FOUND,),
    ),
    Operation(
        "GET", "/v1/reports/trial-balance", _READ, "getTrialBalance",
        "Get all balances by asset and kind of account, now or at a past time", trial_balance, views.TrialBalance,
        query=TrialBalanceQuery,
    ),
    Operation(
        "GET", "/v1/reports/balances", _READ, "getBalanceGroups",
        "Get balances summed by owner, kind of account, or a key of the metadata", balance_groups,
        views.BalanceGroups, query=BalanceGroupsQuery,
    ),
)  # fmt: skip
