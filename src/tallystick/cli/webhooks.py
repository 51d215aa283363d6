"""`tallystick webhooks`: the endpoints of a tenant, their progress, and parked deliveries."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

import click
import msgspec

from tallystick.cli.errors import CommandError
from tallystick.cli.options import configuration_option, json_option, tenant_option
from tallystick.cli.output import print_fields, print_json, print_rows, progress_of
from tallystick.cli.session import open_engine, open_ledger
from tallystick.domain.commands import KINDS
from tallystick.service.configuration import read_configuration
from tallystick.service.logging import configure_logging
from tallystick.service.webhooks.endpoints import Webhooks
from tallystick.service.webhooks.key_file import add_key
from tallystick.service.webhooks.key_rotation import KeyRotation
from tallystick.service.webhooks.key_rotation import rotate_keys as rotate_secrets
from tallystick.views import NewSecret, Webhook, WebhookProgress

Result = TypeVar("Result")

_HEADINGS = ("ID", "Shard", "State", "Position", "Head", "Attempts", "Next attempt", "Last error")


@click.group(
    epilog="\b\nExamples:\n  tallystick webhooks create --url https://shop.example/hooks --kind transfer\n"
    "  tallystick webhooks list\n  tallystick webhooks test hook_0123456789abcd\n"
    "  tallystick webhooks parked\n  tallystick webhooks replay hook_0123456789abcd --shard 1 --from 1200\n"
    "  tallystick webhooks make-key\n  tallystick webhooks rotate-keys",
)
def webhooks() -> None:
    """Make, list, test, replay and remove webhook endpoints, and keep their secrets encrypted."""
    configure_logging(default_level="error", for_people=True)


@webhooks.command(
    epilog="Example: tallystick webhooks create --url https://shop.example/hooks --kind transfer"
)
@configuration_option
@tenant_option
@click.option("--url", required=True, help="The https URL that receives messages.")
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    type=click.Choice(list(KINDS)),
    help="Only this kind; may be given several times.",
)
@click.option("--owner", help="Only events of this owner's accounts.")
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


@webhooks.command(name="list", epilog="Example: tallystick webhooks list")
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


@webhooks.command(epilog="Example: tallystick webhooks status hook_0123456789abcd")
@configuration_option
@tenant_option
@click.argument("identifier", metavar="[ID]", required=False)
@json_option
def status(*, configuration_path: Path, tenant: str, identifier: str | None, as_json: bool) -> None:
    """Show the progress of endpoints on each shard. Without ID: of all endpoints."""
    _show_progress(
        _with_webhooks(configuration_path, tenant, lambda hooks: _progress_of(hooks, identifier)),
        as_json=as_json,
    )


@webhooks.command(epilog="Example: tallystick webhooks parked")
@configuration_option
@tenant_option
@json_option
def parked(*, configuration_path: Path, tenant: str, as_json: bool) -> None:
    """Show failed deliveries that wait for a replay."""
    found = _with_webhooks(configuration_path, tenant, lambda hooks: _progress_of(hooks, None))
    deliveries = [(name, delivery) for name, delivery in found.deliveries if delivery.state == "parked"]
    _show_progress(found._replace(deliveries=deliveries), as_json=as_json)


@webhooks.command(epilog="Example: tallystick webhooks test hook_0123456789abcd")
@configuration_option
@tenant_option
@click.argument("identifier", metavar="ID")
@json_option
def test(*, configuration_path: Path, tenant: str, identifier: str, as_json: bool) -> None:
    """Send a test message now, and print the receiver's answer."""
    attempt = _with_webhooks(configuration_path, tenant, lambda hooks: hooks.test(identifier))
    if as_json:
        said = {"status": attempt.status, "error": attempt.error, "seconds": attempt.seconds}
        print_json({"delivered": attempt.error is None, **said})
    elif attempt.error is None:
        click.echo(f"delivered: answered {attempt.status} after {attempt.seconds:.3f} s")
    if attempt.error is not None:
        raise CommandError(f"not delivered: {attempt.error}")


@webhooks.command(epilog="Example: tallystick webhooks replay hook_0123456789abcd --shard 1 --from 1200")
@configuration_option
@tenant_option
@click.argument("identifier", metavar="ID")
@click.option("--shard", required=True, type=int, help="The shard of the log.")
@click.option("--from", "position", required=True, type=int, help="The first position to deliver again.")
@json_option
def replay(
    *, configuration_path: Path, tenant: str, identifier: str, shard: int, position: int, as_json: bool
) -> None:
    """Deliver a shard's log again from a position on. A parked delivery goes on there."""
    found = _with_webhooks(
        configuration_path, tenant, lambda hooks: hooks.replay(identifier, shard, position)
    )
    _show_progress(_Progress([(identifier, found)], []), as_json=as_json)


@webhooks.command(epilog="Example: tallystick webhooks rotate hook_0123456789abcd")
@configuration_option
@tenant_option
@click.argument("identifier", metavar="ID")
@json_option
def rotate(*, configuration_path: Path, tenant: str, identifier: str, as_json: bool) -> None:
    """Make a new secret, printed once. For a day messages are also signed with the old one."""
    made = _with_webhooks(configuration_path, tenant, lambda hooks: hooks.rotate(identifier))
    _show_secret(made, as_json=as_json)


@webhooks.command(epilog="Example: tallystick webhooks remove hook_0123456789abcd")
@configuration_option
@tenant_option
@click.argument("identifier", metavar="ID")
@json_option
def remove(*, configuration_path: Path, tenant: str, identifier: str, as_json: bool) -> None:
    """Remove an endpoint: it gets no more messages."""
    removed: Webhook = _with_webhooks(configuration_path, tenant, lambda hooks: hooks.remove(identifier))
    if as_json:
        print_json(removed)
    else:
        click.echo(f"removed {removed.id}")


@webhooks.command(
    name="make-key",
    epilog="\b\nExamples:\n  tallystick webhooks make-key\n"
    "  tallystick webhooks make-key --file /etc/tallystick/webhook_keys",
)
@configuration_option
@click.option(
    "--file",
    "named",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file to add the key to; it may be new. Default: webhooks_key_file of the configuration.",
)
@json_option
def make_key(*, configuration_path: Path, named: Path | None, as_json: bool) -> None:
    """Make a key to encrypt secrets with.

    It becomes the first key of its file, and is not printed. Servers that use the file follow it. Then run:
    tallystick webhooks rotate-keys
    """
    configured = read_configuration(configuration_path).webhooks_key_file
    path = named or (None if configured is None else Path(configured))
    if path is None:
        raise CommandError("the configuration names no webhooks_key_file: name a file with --file")
    path = path.absolute()
    made = add_key(path)
    if as_json:
        print_json({"key": made.name, "file": str(path), "configured": configured == str(path)})
    else:
        print_fields({"key": made.name, "file": path})
    if configured != str(path):
        line = f"webhooks_key_file = {json.dumps(str(path))}"
        click.echo(
            f"Put this line at the top of {configuration_path}, and start the servers again: {line}", err=True
        )


@webhooks.command(name="rotate-keys", epilog="Example: tallystick webhooks rotate-keys --json")
@configuration_option
@json_option
def rotate_keys(*, configuration_path: Path, as_json: bool) -> None:
    """Encrypt all secrets with the first key.

    This covers the endpoints of all tenants, also secrets that are not encrypted yet, with the first key of
    webhooks_key_file. All servers must have the file before. It is harmless to repeat.
    """

    async def run() -> KeyRotation:
        async with open_engine(read_configuration(configuration_path)) as engine:
            with progress_of("Encrypting secrets of webhooks") as progress:
                return await rotate_secrets(engine, progress)

    done = asyncio.run(run())
    if as_json:
        print_json(done)
    else:
        print_fields({"key": done.key, "endpoints": done.endpoints, "changed just now": done.changed})
    for name in done.unused_keys:
        click.echo(
            f"Key {name} is needed only to read older backups: remove its line when you no longer need those.",
            err=True,
        )
    for why in done.unreadable.values():
        click.echo(why, err=True)
    if done.unreadable:
        raise CommandError(f"{len(done.unreadable)} endpoints were not changed: see above")


def _with_webhooks(path: Path, tenant: str, act: Callable[[Webhooks], Awaitable[Result]]) -> Result:
    async def run() -> Result:
        async with open_ledger(read_configuration(path), tenant) as ledger:
            return await act(ledger.webhooks)

    return asyncio.run(run())


class _Progress(NamedTuple):
    """The progress of endpoints by their identifiers, and the shards that could not be reached."""

    deliveries: list[tuple[str, WebhookProgress]]
    unreachable_shards: list[int]


async def _progress_of(hooks: Webhooks, identifier: str | None) -> _Progress:
    names = [hook.id for hook in await hooks.all()] if identifier is None else [identifier]
    progress = await asyncio.gather(*(hooks.progress(name) for name in names))
    return _Progress(
        [
            (name, delivery)
            for name, found in zip(names, progress, strict=True)
            for delivery in found.deliveries
        ],
        sorted({number for found in progress for number in found.unreachable_shards}),
    )


def _show_secret(made: NewSecret, *, as_json: bool) -> None:
    if as_json:
        print_json({"webhook": made.webhook, "secret": made.secret})
    else:
        print_fields({"id": made.webhook.id, "url": made.webhook.url, "secret": made.secret})
        click.echo("Keep the secret now: it cannot be shown again.", err=True)


def _show_progress(found: _Progress, *, as_json: bool) -> None:
    for number in found.unreachable_shards:
        click.echo(f"Shard {number} cannot be reached now: its deliveries are not shown.", err=True)
    if as_json:
        deliveries = [{"id": name, **msgspec.to_builtins(delivery)} for name, delivery in found.deliveries]
        print_json({"deliveries": deliveries, "unreachable_shards": found.unreachable_shards})
    elif not found.deliveries:
        click.echo("Nothing to show.")
    else:
        print_rows(
            _HEADINGS,
            [
                (
                    name,
                    delivery.shard,
                    delivery.state,
                    delivery.position,
                    delivery.head,
                    delivery.attempts,
                    delivery.next_attempt_at,
                    delivery.last_error,
                )
                for name, delivery in found.deliveries
            ],
            numbers=["Position", "Head", "Attempts"],
        )
