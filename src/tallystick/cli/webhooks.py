"""`tallystick webhooks`: the endpoints of a tenant, how far each has been told, and what is parked."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

import click
import msgspec

from tallystick.cli.errors import CommandError
from tallystick.cli.options import configuration_option, json_option, tenant_option
from tallystick.cli.output import print_fields, print_json, print_rows
from tallystick.cli.session import open_ledger
from tallystick.domain.commands import KINDS
from tallystick.service.configuration import read_configuration
from tallystick.service.logging import configure_logging
from tallystick.service.webhooks.endpoints import NewSecret, ShardProgress, Webhook, Webhooks

Result = TypeVar("Result")

_HEADINGS = ("ID", "Shard", "State", "Position", "Head", "Attempts", "Next attempt", "Last error")


@click.group(
    epilog="\b\nExamples:\n  tallystick webhooks create --url https://shop.example/hooks --kind transfer\n"
    "  tallystick webhooks list\n  tallystick webhooks test hook_0123456789abcd\n"
    "  tallystick webhooks parked\n  tallystick webhooks replay hook_0123456789abcd --shard 1 --from 1200",
)
def webhooks() -> None:
    """Make, list, test, replay and remove webhook endpoints."""
    configure_logging(default_level="error", for_people=True)


@webhooks.command()
@configuration_option
@tenant_option
@click.option("--url", required=True, help="Where messages are sent to: https.")
@click.option(
    "--kind", "kinds", multiple=True, type=click.Choice(list(KINDS)), help="Only this kind; several times."
)
@click.option("--owner", help="Only what concerns this owner's accounts.")
@json_option
def create(
    *,
    configuration_path: Path,
    tenant: str,
    url: str,
    kinds: tuple[str, ...],
    owner: str | None,
    as_json: bool,
) -> None:
    """Make an endpoint. Its secret is printed once."""
    made = _with_webhooks(configuration_path, tenant, lambda hooks: hooks.create(url, kinds, owner))
    _show_secret(made, as_json=as_json)


@webhooks.command(name="list")
@configuration_option
@tenant_option
@json_option
def list_webhooks(*, configuration_path: Path, tenant: str, as_json: bool) -> None:
    """List endpoints, without their secrets."""
    found = _with_webhooks(configuration_path, tenant, lambda hooks: hooks.all())
    if as_json:
        print_json({"webhooks": found})
    else:
        print_rows(
            ("ID", "URL", "Kinds", "Owner", "State", "Created"),
            [
                (one.id, one.url, ", ".join(one.kinds) or "all", one.owner, one.state, one.created_at)
                for one in found
            ],
        )


@webhooks.command()
@configuration_option
@tenant_option
@click.argument("identifier", metavar="[ID]", required=False)
@json_option
def status(*, configuration_path: Path, tenant: str, identifier: str | None, as_json: bool) -> None:
    """Show how far endpoints have been told of each shard: all of them, or one."""
    _show_told(
        _with_webhooks(configuration_path, tenant, lambda hooks: _told(hooks, identifier)), as_json=as_json
    )


@webhooks.command()
@configuration_option
@tenant_option
@json_option
def parked(*, configuration_path: Path, tenant: str, as_json: bool) -> None:
    """Show what failed for too long and waits for a replay."""
    found = _with_webhooks(configuration_path, tenant, lambda hooks: _told(hooks, None))
    deliveries = [(name, one) for name, one in found.deliveries if one.state == "parked"]
    _show_told(found._replace(deliveries=deliveries), as_json=as_json)


@webhooks.command()
@configuration_option
@tenant_option
@click.argument("identifier", metavar="ID")
@json_option
def test(*, configuration_path: Path, tenant: str, identifier: str, as_json: bool) -> None:
    """Send a test message now, and say what the receiver answered."""
    attempt = _with_webhooks(configuration_path, tenant, lambda hooks: hooks.test(identifier))
    if as_json:
        said = {"status": attempt.status, "error": attempt.error, "seconds": attempt.seconds}
        print_json({"delivered": attempt.error is None, **said})
    elif attempt.error is None:
        click.echo(f"delivered: answered {attempt.status} after {attempt.seconds:.3f} s")
    if attempt.error is not None:
        raise CommandError(f"not delivered: {attempt.error}")


@webhooks.command()
@configuration_option
@tenant_option
@click.argument("identifier", metavar="ID")
@click.option("--shard", required=True, type=int, help="The shard whose log it is.")
@click.option("--from", "position", required=True, type=int, help="The first position to deliver again.")
@json_option
def replay(
    *, configuration_path: Path, tenant: str, identifier: str, shard: int, position: int, as_json: bool
) -> None:
    """Deliver a shard's log again from a position on; what was parked goes on there."""
    found = _with_webhooks(
        configuration_path, tenant, lambda hooks: hooks.replay(identifier, shard, position)
    )
    _show_told(_Told([(identifier, found)], []), as_json=as_json)


@webhooks.command()
@configuration_option
@tenant_option
@click.argument("identifier", metavar="ID")
@json_option
def rotate(*, configuration_path: Path, tenant: str, identifier: str, as_json: bool) -> None:
    """Make a new secret, printed once. For a day messages are signed with the one before as well."""
    made = _with_webhooks(configuration_path, tenant, lambda hooks: hooks.rotate(identifier))
    _show_secret(made, as_json=as_json)


@webhooks.command()
@configuration_option
@tenant_option
@click.argument("identifier", metavar="ID")
@json_option
def remove(*, configuration_path: Path, tenant: str, identifier: str, as_json: bool) -> None:
    """Remove an endpoint: it is told nothing more."""
    removed: Webhook = _with_webhooks(configuration_path, tenant, lambda hooks: hooks.remove(identifier))
    if as_json:
        print_json(removed)
    else:
        click.echo(f"removed {removed.id}")


def _with_webhooks(path: Path, tenant: str, act: Callable[[Webhooks], Awaitable[Result]]) -> Result:
    async def run() -> Result:
        async with open_ledger(read_configuration(path), tenant) as ledger:
            return await act(ledger.webhooks)

    return asyncio.run(run())


class _Told(NamedTuple):
    """How far endpoints have been told, by their names, and which shards could not be asked."""

    deliveries: list[tuple[str, ShardProgress]]
    unreachable_shards: list[int]


async def _told(hooks: Webhooks, identifier: str | None) -> _Told:
    names = [one.id for one in await hooks.all()] if identifier is None else [identifier]
    told = await asyncio.gather(*(hooks.progress(name) for name in names))
    return _Told(
        [(name, one) for name, found in zip(names, told, strict=True) for one in found.deliveries],
        sorted({number for found in told for number in found.unreachable_shards}),
    )


def _show_secret(made: NewSecret, *, as_json: bool) -> None:
    if as_json:
        print_json({"webhook": made.webhook, "secret": made.secret})
    else:
        print_fields({"id": made.webhook.id, "url": made.webhook.url, "secret": made.secret})
        click.echo("Keep the secret now: it cannot be shown again.", err=True)


def _show_told(found: _Told, *, as_json: bool) -> None:
    for number in found.unreachable_shards:
        click.echo(f"Shard {number} cannot be reached now: what it says is not shown.", err=True)
    if as_json:
        deliveries = [{"id": name, **msgspec.to_builtins(one)} for name, one in found.deliveries]
        print_json({"deliveries": deliveries, "unreachable_shards": found.unreachable_shards})
    elif not found.deliveries:
        click.echo("Nothing to show.")
    else:
        print_rows(
            _HEADINGS,
            [
                (
                    name,
                    one.shard,
                    one.state,
                    one.position,
                    one.head,
                    one.attempts,
                    one.next_attempt_at,
                    one.last_error,
                )
                for name, one in found.deliveries
            ],
            numbers=["Position", "Head", "Attempts"],
        )
