"""`tallystick accounts`: open, show and change accounts."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import click

from tallystick import views
from tallystick.cli.errors import CommandError
from tallystick.cli.options import configuration_option, json_option, tenant_option
from tallystick.cli.outcomes import expect_posted
from tallystick.cli.output import print_fields, print_json, print_rows
from tallystick.cli.session import open_ledger
from tallystick.domain import limits
from tallystick.domain.outcomes import RefusalCode, Refused, refuse
from tallystick.ledger.errors import NotTakenError
from tallystick.service.configuration import read_configuration
from tallystick.service.errors import AccountNotFoundError
from tallystick.service.ledger import UNSET, Ledger
from tallystick.service.logging import configure_logging

Result = TypeVar("Result")

ENTRIES_SHOWN = 10
NO_BOUND = "none"
KEY_BYTES = 16


@click.group(
    epilog="\b\nExamples:\n  tallystick accounts open --owner carol --asset USD\n"
    "  tallystick accounts list --owner carol\n  tallystick accounts show acct_0023ejy4p9kvt6",
)
def accounts() -> None:
    """Open, show and change accounts. Amounts are minor units: 1250 is 12.50 USD."""
    configure_logging(default_level="warning", for_people=True)


@accounts.command(name="open", epilog="Example: tallystick accounts open --owner carol --asset USD")
@configuration_option
@tenant_option
@click.option("--owner", required=True, help="The owner of the account, a name of your own.")
@click.option("--asset", required=True, help="The asset, such as USD.")
@click.option("--kind", type=click.Choice(["wallet", "system"]), default="wallet", show_default=True)
@click.option(
    "--min-balance",
    metavar="AMOUNT",
    help="The lowest balance allowed, or 'none'. Default: 0 for a wallet, none for a system account.",
)
@click.option("--max-balance", metavar="AMOUNT", help="The highest balance allowed. Default: none.")
@click.option("--near", help="An account or an owner: a new owner is placed on the same shard.")
@click.option(
    "--key", help="The idempotency key: the same key opens the account once. Default: a random one."
)
@json_option
def open_account(
    *,
    configuration_path: Path,
    tenant: str,
    owner: str,
    asset: str,
    kind: str,
    min_balance: str | None,
    max_balance: str | None,
    near: str | None,
    key: str | None,
    as_json: bool,
) -> None:
    """Open an account."""
    request_key = secrets.token_hex(KEY_BYTES) if key is None else key
    try:
        outcome = _run(
            configuration_path,
            tenant,
            lambda ledger: ledger.open_account(
                owner,
                asset,
                kind=kind,
                min_balance=UNSET if min_balance is None else _bound(min_balance),
                max_balance=_bound(max_balance),
                near=near,
                idempotency_key=request_key,
            ),
        )
    except NotTakenError as error:
        # The account may have been opened. With its key it is safe to try again.
        raise CommandError(f"{error}: run it again with --key {request_key}") from None
    _print_account(expect_posted(outcome, as_json=as_json), as_json=as_json)


@accounts.command(epilog="Example: tallystick accounts show acct_0023ejy4p9kvt6")
@configuration_option
@tenant_option
@click.argument("account")
@click.option(
    "--entries",
    "entries_count",
    type=click.IntRange(1, limits.PAGE_ROWS_MAX),
    default=ENTRIES_SHOWN,
    show_default=True,
    help="The number of its last entries to show.",
)
@click.option("--stages", is_flag=True, help="Show each stage of transfers between shards, as in the log.")
@json_option
def show(
    *, configuration_path: Path, tenant: str, account: str, entries_count: int, stages: bool, as_json: bool
) -> None:
    """Show an account: its balance and its last entries, newest first."""

    async def read(
        ledger: Ledger,
    ) -> tuple[views.Account, views.Page[views.HistoryEntry]]:
        history = await ledger.entries(account, limit=entries_count, stages=stages)
        return await ledger.account(account), history

    view, history = expect_posted(_run(configuration_path, tenant, read), as_json=as_json)
    entries = history.items
    if as_json:
        print_json({"account": view, "entries": entries})
        return
    _print_account(view, as_json=False)
    if entries:
        click.echo()
        print_rows(
            ("Recorded", "Kind", "Amount", "Balance", "Held", "Transaction", "Description"),
            [
                (
                    entry.recorded_at,
                    entry.kind,
                    entry.amount,
                    entry.balance,
                    entry.held_after,
                    entry.transaction,
                    entry.description or "",
                )
                for entry in entries
            ],
            numbers=("Amount", "Balance", "Held"),
        )


@accounts.command(name="list", epilog="Example: tallystick accounts list --owner alice")
@configuration_option
@tenant_option
@click.option("--owner", required=True, help="Whose accounts.")
@click.option("--cursor", help="The cursor that the last page gave.")
@click.option(
    "--limit",
    type=click.IntRange(1, limits.PAGE_ROWS_MAX),
    default=limits.PAGE_ROWS_DEFAULT,
    show_default=True,
    help="Accounts on a page.",
)
@json_option
def list_accounts(
    *, configuration_path: Path, tenant: str, owner: str, cursor: str | None, limit: int, as_json: bool
) -> None:
    """List an owner's accounts."""
    page = expect_posted(
        _run(configuration_path, tenant, lambda ledger: ledger.accounts(owner, cursor=cursor, limit=limit)),
        as_json=as_json,
    )
    if as_json:
        print_json({"accounts": page.items, "next_cursor": page.next_cursor})
        return
    print_rows(
        ("Account", "Shard", "Asset", "Kind", "Status", "Balance", "Held", "Available"),
        [
            (view.id, view.shard, view.asset, view.kind, view.status, view.balance, view.held, view.available)
            for view in page.items
        ],
        numbers=("Shard", "Balance", "Held", "Available"),
    )
    if page.next_cursor is not None:
        click.echo(f"There are more: --cursor {page.next_cursor}", err=True)


@accounts.command(epilog="Example: tallystick accounts total @fees")
@configuration_option
@tenant_option
@click.argument("system_owner")
@json_option
def total(configuration_path: Path, tenant: str, system_owner: str, as_json: bool) -> None:
    """Show the total of a system owner, such as @fees, on all shards."""
    found = _run(configuration_path, tenant, lambda ledger: ledger.system_owner_balances(system_owner))
    view = expect_posted(found, as_json=as_json)
    if as_json:
        print_json(view)
        return
    print_rows(
        ("Asset", "Balance", "Held", "Available", "Accounts"),
        [(one.asset, one.balance, one.held, one.available, one.accounts) for one in view.balances],
        numbers=("Balance", "Held", "Available", "Accounts"),
    )


@accounts.command(epilog="Example: tallystick accounts freeze acct_0023ejy4p9kvt6")
@configuration_option
@tenant_option
@click.argument("account")
@json_option
def freeze(configuration_path: Path, tenant: str, account: str, as_json: bool) -> None:
    """Freeze an account: no money may go out; money may still come in."""
    _set_status(configuration_path, tenant, account, "frozen", as_json=as_json)


@accounts.command(epilog="Example: tallystick accounts unfreeze acct_0023ejy4p9kvt6")
@configuration_option
@tenant_option
@click.argument("account")
@json_option
def unfreeze(configuration_path: Path, tenant: str, account: str, as_json: bool) -> None:
    """Unfreeze an account: money may go out again."""
    _set_status(configuration_path, tenant, account, "open", expected="frozen", as_json=as_json)


@accounts.command(epilog="Example: tallystick accounts close acct_0023ejy4p9kvt6")
@configuration_option
@tenant_option
@click.argument("account")
@json_option
def close(configuration_path: Path, tenant: str, account: str, as_json: bool) -> None:
    """Close an account that is empty."""
    _set_status(configuration_path, tenant, account, "closed", as_json=as_json)


@accounts.command(epilog="Example: tallystick accounts reopen acct_0023ejy4p9kvt6")
@configuration_option
@tenant_option
@click.argument("account")
@json_option
def reopen(configuration_path: Path, tenant: str, account: str, as_json: bool) -> None:
    """Open a closed account again."""
    _set_status(configuration_path, tenant, account, "open", expected="closed", as_json=as_json)


def _set_status(
    configuration_path: Path,
    tenant: str,
    account: str,
    status: str,
    *,
    expected: str | None = None,
    as_json: bool,
) -> None:
    async def change(ledger: Ledger) -> views.Account | Refused:
        found = await ledger.account(account)
        # Unfreezing and reopening are the same change, but neither may happen by mistake for the other.
        if found.status == status:
            return found
        if expected is not None and found.status != expected:
            raise CommandError(
                f"the account is {found.status}, not {expected}: see tallystick accounts --help"
            )
        return await ledger.change_account(account, status=status)

    outcome = _run(configuration_path, tenant, change)
    _print_account(expect_posted(outcome, as_json=as_json), as_json=as_json)


def _run(
    configuration_path: Path, tenant: str, ask: Callable[[Ledger], Awaitable[Result]]
) -> Result | Refused:
    async def run() -> Result | Refused:
        async with open_ledger(read_configuration(configuration_path), tenant) as ledger:
            try:
                return await ask(ledger)
            except AccountNotFoundError:
                # Scripts get the same refusal whether the account was to be read or changed.
                return refuse(RefusalCode.ACCOUNT_NOT_FOUND, "id")

    return asyncio.run(run())


def _bound(text: str | None) -> str | None:
    return None if text == NO_BOUND else text


def _print_account(view: views.Account, *, as_json: bool) -> None:
    if as_json:
        print_json(view)
        return
    print_fields(
        {
            "account": view.id,
            "owner": view.owner,
            "asset": view.asset,
            "kind": view.kind,
            "status": view.status,
            "balance": view.balance,
            "held": view.held,
            "available": view.available,
            "shard": view.shard,
            "min balance": view.min_balance,
            "max balance": view.max_balance,
            **{f"metadata {name}": value for name, value in view.metadata.items()},
        }
    )
