"""`tallystick transfer`: move money from one account to another."""

import asyncio
import secrets
from pathlib import Path

import click

from tallystick import views
from tallystick.cli.errors import CommandError
from tallystick.cli.options import configuration_option, json_option, tenant_option
from tallystick.cli.outcomes import expect_posted
from tallystick.cli.output import print_fields, print_json
from tallystick.cli.session import open_ledger
from tallystick.domain.outcomes import Refused
from tallystick.ledger.errors import NotTakenError
from tallystick.service import parameters
from tallystick.service.configuration import read_configuration
from tallystick.service.logging import configure_logging
from tallystick.views.encoding import builtins_of

KEY_BYTES = 16


@click.command(
    epilog="\b\nExample:\n  tallystick transfer acct_0023ejy4p9kvt6 acct_002vtep7yqdrrk 1250 USD --key invoice-17"
)
@configuration_option
@tenant_option
@click.argument("source")
@click.argument("destination")
@click.argument("amount")
@click.argument("asset")
@click.option("--key", help="The idempotency key: the same key moves the money once. Default: a random key.")
@click.option("--description", metavar="TEXT", help="A description of the transfer.")
@json_option
def transfer(
    *,
    configuration_path: Path,
    tenant: str,
    source: str,
    destination: str,
    amount: str,
    asset: str,
    key: str | None,
    description: str | None,
    as_json: bool,
) -> None:
    """Move AMOUNT minor units of ASSET from SOURCE to DESTINATION: 1250 is 12.50 USD."""
    configure_logging(default_level="warning", for_people=True)
    request_key = secrets.token_hex(KEY_BYTES) if key is None else key
    if not request_key:
        raise CommandError("the idempotency key is empty: name one with --key, or leave --key out")
    parameters.idempotency_key(request_key)

    async def run() -> views.Transaction | Refused:
        async with open_ledger(read_configuration(configuration_path), tenant) as ledger:
            return await ledger.transfer(
                source, destination, amount, asset, idempotency_key=request_key, description=description
            )

    try:
        outcome = asyncio.run(run())
    except NotTakenError as error:
        # The transfer may have been carried out. With its key it is safe to try again.
        raise CommandError(f"{error}: run it again with --key {request_key}") from None
    posted = expect_posted(outcome, as_json=as_json)
    if as_json:
        print_json({**builtins_of(posted), "idempotency_key": request_key})
        return
    print_fields(
        {
            "transaction": posted.id,
            "state": posted.state,
            "recorded": posted.recorded_at,
            **{
                f"balance of {entry.account}": entry.balance
                for entry in posted.entries
                if entry.balance is not None
            },
            "idempotency key": request_key,
        }
    )
