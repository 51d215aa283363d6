"""`tallystick keys`: the API keys of all tenants."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

import click
import msgspec

from tallystick.cli.errors import CommandError
from tallystick.cli.options import configuration_option, json_option, owner_option, tenant_option
from tallystick.cli.output import print_fields, print_json, print_rows
from tallystick.cli.session import open_engine, open_owners_directory
from tallystick.domain import limits
from tallystick.domain.access import ALL_SCOPES, Scope, in_words
from tallystick.ledger.directory import ReplicatedDirectory
from tallystick.service import parameters
from tallystick.service.api_keys import KeyManagement, create_key
from tallystick.service.configuration import read_configuration, read_owner_configuration
from tallystick.service.errors import KeyNotFoundError
from tallystick.service.logging import configure_logging
from tallystick.store.directory import ApiKeyRow
from tallystick.views.api_keys import ApiKey, NewApiKey, api_key_view

Result = TypeVar("Result")

ALL: Final = "all"
NEVER: Final = "never"
ANYWHERE: Final = "anywhere"
_UNITS: Final = {"d": timedelta(days=1), "h": timedelta(hours=1), "m": timedelta(minutes=1)}


@click.group(
    epilog="\b\nExamples:\n  tallystick keys create --name shop --scope read --scope post\n  tallystick keys list\n"
    "  tallystick keys change 0123456789ab --expires 90d\n  tallystick keys rotate 0123456789ab --overlap 1d\n"
    "  tallystick keys revoke 0123456789ab",
)
def keys() -> None:
    """Make, list, change, rotate and revoke API keys."""
    configure_logging(default_level="warning", for_people=True)


_scope_option = click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice([*(scope.value for scope in Scope), ALL]),
    help="What the key may do; repeat it for several. Of a new key by default: read.",
)
_network_option = click.option(
    "--network",
    "networks",
    multiple=True,
    metavar="CIDR",
    help=f"A network that callers must be in; repeat it for several. Default, and `{ANYWHERE}`: everywhere.",
)
_expires_option = click.option(
    "--expires",
    metavar="TIME",
    help=f"When the key expires: 90d, 12h, a time such as 2027-01-31T12:00:00Z, or `{NEVER}` (the default).",
)


@keys.command(epilog="Example: tallystick keys create --name shop --scope read --scope post --expires 90d")
@configuration_option
@owner_option
@tenant_option
@click.option("--name", required=True, help="A name for the key, such as its purpose.")
@_scope_option
@_network_option
@_expires_option
@json_option
def create(
    *,
    configuration_path: Path,
    owner_path: Path | None,
    tenant: str,
    name: str,
    scopes: Sequence[str],
    networks: Sequence[str],
    expires: str | None,
    as_json: bool,
) -> None:
    """Make a key. It is printed once; only its hash is stored. A tenant that does not exist is made too."""
    parameters.text(tenant, "tenant", limits.OWNER_CHARACTERS_MAX)
    parameters.text(name, "name", limits.OWNER_CHARACTERS_MAX)
    grant = _grant(scopes, networks, expires)

    async def make(directory: ReplicatedDirectory) -> NewApiKey:
        return await create_key(directory, name, tenant, **grant)

    _show_new(_as_owner(configuration_path, owner_path, make), tenant, as_json=as_json)


@keys.command(name="list", epilog="Example: tallystick keys list")
@configuration_option
@json_option
def list_keys(configuration_path: Path, as_json: bool) -> None:
    """List all keys, without their secrets."""

    async def run() -> list[ApiKeyRow]:
        async with open_engine(read_configuration(configuration_path)) as engine:
            return [row async for row in KeyManagement(engine.directory).all()]

    found = asyncio.run(run())
    if as_json:
        print_json({"keys": [_described(api_key_view(row.key, row.used_at), row.tenant) for row in found]})
        return
    headings = ("ID", "Tenant", "Name", "Scopes", "Networks", "Expires", "Last used", "Created", "Revoked")
    print_rows(
        headings,
        [
            (
                row.key.id,
                row.tenant,
                row.key.name,
                in_words(row.key.scopes),
                " ".join(row.key.networks) or None,
                row.key.expires_at,
                row.used_at,
                row.key.created_at,
                row.key.revoked_at,
            )
            for row in found
        ],
    )


@keys.command(epilog="Example: tallystick keys change 0123456789ab --scope read --network 192.0.2.0/24")
@configuration_option
@owner_option
@click.argument("identifier", metavar="ID")
@click.option("--name", help="Another name.")
@_scope_option
@_network_option
@_expires_option
@json_option
def change(
    *,
    configuration_path: Path,
    owner_path: Path | None,
    identifier: str,
    name: str | None,
    scopes: Sequence[str],
    networks: Sequence[str],
    expires: str | None,
    as_json: bool,
) -> None:
    """Change a key. What is not named stays. Every server knows of it within a few seconds."""
    changes = _grant(scopes, networks, expires)
    if name is not None:
        changes["name"] = name
    if not changes:
        raise CommandError("nothing to change: name --name, --scope, --network or --expires")

    async def act(directory: ReplicatedDirectory) -> ApiKey:
        return await KeyManagement(directory).change(identifier, **changes)

    changed = _as_owner(configuration_path, owner_path, act)
    if as_json:
        print_json(_described(changed))
    else:
        click.echo(f"changed {identifier}")


@keys.command(epilog="Example: tallystick keys rotate 0123456789ab --overlap 1d")
@configuration_option
@owner_option
@click.argument("identifier", metavar="ID")
@click.option(
    "--overlap",
    default="1d",
    show_default=True,
    metavar="TIME",
    help="How long the secret before is valid, too, such as 1d, 12h or 0m.",
)
@json_option
def rotate(
    *, configuration_path: Path, owner_path: Path | None, identifier: str, overlap: str, as_json: bool
) -> None:
    """Give a key a new secret. It is printed once. For some time both secrets are valid."""
    overlap_seconds = int(_duration(overlap, "--overlap").total_seconds())

    async def act(directory: ReplicatedDirectory) -> NewApiKey:
        return await KeyManagement(directory).rotate(identifier, overlap_seconds)

    _show_new(_as_owner(configuration_path, owner_path, act), None, as_json=as_json)


@keys.command(epilog="Example: tallystick keys revoke 0123456789ab")
@configuration_option
@owner_option
@click.argument("identifier", metavar="ID")
@json_option
def revoke(configuration_path: Path, owner_path: Path | None, identifier: str, as_json: bool) -> None:
    """Revoke a key. Every server refuses it within a few seconds."""

    async def act(directory: ReplicatedDirectory) -> None:
        await KeyManagement(directory).revoke(identifier)

    _as_owner(configuration_path, owner_path, act)
    if as_json:
        print_json({"id": identifier, "revoked": True})
    else:
        click.echo(f"revoked {identifier}")


def _as_owner(
    configuration_path: Path,
    owner_path: Path | None,
    act: Callable[[ReplicatedDirectory], Awaitable[Result]],
) -> Result:
    async def run() -> Result:
        async with open_owners_directory(
            read_owner_configuration(configuration_path, owner_path)
        ) as directory:
            return await act(directory)

    try:
        return asyncio.run(run())
    except KeyNotFoundError:
        # The argument may be the key itself, by mistake: do not print it.
        raise CommandError("no key in force has this ID: see tallystick keys list") from None


def _grant(scopes: Sequence[str], networks: Sequence[str], expires: str | None) -> dict[str, Any]:
    """What was asked for, by the names of the parameters."""
    grant: dict[str, Any] = {}
    if scopes:
        grant["scopes"] = ALL_SCOPES if ALL in scopes else scopes
    if networks:
        grant["networks"] = () if ANYWHERE in networks else networks
    if expires is not None:
        grant["expires_at"] = _time(expires)
    return grant


def _time(text: str) -> datetime | None:
    if text == NEVER:
        return None
    if text[-1:] in _UNITS:
        return datetime.now(UTC) + _duration(text, "--expires")
    try:
        return msgspec.convert(text, datetime)
    except msgspec.ValidationError:
        raise CommandError(
            f"--expires: expected 90d, 12h, a time such as 2027-01-31T12:00:00Z, or {NEVER}"
        ) from None


def _duration(text: str, option: str) -> timedelta:
    number, unit = text[:-1], text[-1:]
    if unit not in _UNITS or not (number.isascii() and number.isdigit()) or len(number) > len("99999"):
        raise CommandError(f"{option}: expected a number of days, hours or minutes, such as 90d, 12h or 30m")
    return int(number) * _UNITS[unit]


def _described(key: ApiKey, tenant: str | None = None) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.structs.asdict(key)
    return fields if tenant is None else {**fields, "tenant": tenant}


def _show_new(made: NewApiKey, tenant: str | None, *, as_json: bool) -> None:
    described = _described(made.api_key, tenant)
    if as_json:
        print_json({"key": made.key, **described})
        return
    shown = {name: described[name] for name in ("id", "name", "scopes", "networks", "expires_at")}
    shown |= {"scopes": in_words(made.api_key.scopes), "networks": " ".join(made.api_key.networks) or None}
    tenants = {} if tenant is None else {"tenant": tenant}
    print_fields({"id": shown.pop("id"), "key": made.key, **shown, **tenants})
    click.echo("Keep the key now: it cannot be shown again.", err=True)
