"""`tallystick keys`: the API keys."""

import asyncio
from pathlib import Path

import click

from tallystick.cli.errors import CommandError
from tallystick.cli.options import configuration_option, json_option, owner_option, tenant_option
from tallystick.cli.output import print_fields, print_json, print_rows
from tallystick.cli.session import open_api_keys, open_engine
from tallystick.domain import limits
from tallystick.service import parameters
from tallystick.service.authentication import NewApiKey
from tallystick.service.configuration import read_configuration, read_owner_configuration
from tallystick.service.logging import configure_logging
from tallystick.store.directory import ApiKeyRow


@click.group(
    epilog="\b\nExamples:\n  tallystick keys create --name shop\n  tallystick keys list\n"
    "  tallystick keys revoke 0123456789ab",
)
def keys() -> None:
    """Make, list and revoke API keys."""
    configure_logging(default_level="warning", for_people=True)


@keys.command(epilog="Example: tallystick keys create --name shop --tenant default")
@configuration_option
@owner_option
@tenant_option
@click.option("--name", required=True, help="A name for the key, such as its purpose.")
@json_option
def create(configuration_path: Path, owner_path: Path | None, tenant: str, name: str, as_json: bool) -> None:
    """Make a key. It is printed once; only its hash is stored. A tenant that does not exist is made too."""
    parameters.text(name, "name", limits.OWNER_CHARACTERS_MAX)
    parameters.text(tenant, "tenant", limits.OWNER_CHARACTERS_MAX)

    async def run() -> NewApiKey:
        async with open_api_keys(read_owner_configuration(configuration_path, owner_path)) as keys:
            return await keys.create(name, tenant)

    made = asyncio.run(run())
    fields = {"id": made.id, "key": made.key, "name": name, "tenant": tenant}
    if as_json:
        print_json(fields)
    else:
        print_fields(fields)
        click.echo("Keep the key now: it cannot be shown again.", err=True)


@keys.command(name="list", epilog="Example: tallystick keys list")
@configuration_option
@json_option
def list_keys(configuration_path: Path, as_json: bool) -> None:
    """List all keys, without their secrets."""

    async def run() -> list[ApiKeyRow]:
        async with open_engine(read_configuration(configuration_path)) as engine:
            return await engine.api_keys.all()

    found = asyncio.run(run())
    if as_json:
        print_json({"keys": [row._asdict() for row in found]})
    else:
        print_rows(("ID", "Tenant", "Name", "Created", "Revoked"), found)


@keys.command(epilog="Example: tallystick keys revoke 0123456789ab")
@configuration_option
@owner_option
@click.argument("identifier", metavar="ID")
@json_option
def revoke(configuration_path: Path, owner_path: Path | None, identifier: str, as_json: bool) -> None:
    """Revoke a key. Every server refuses it within a few seconds."""
    parameters.text(identifier, "ID", limits.OWNER_CHARACTERS_MAX)

    async def run() -> bool:
        async with open_api_keys(read_owner_configuration(configuration_path, owner_path)) as keys:
            return await keys.revoke(identifier)

    if not asyncio.run(run()):
        # The argument may be the key itself, by mistake: do not print it.
        raise CommandError("no key in force has this ID: see tallystick keys list")
    if as_json:
        print_json({"id": identifier, "revoked": True})
    else:
        click.echo(f"revoked {identifier}")
