"""`tallystick sagas`: transfers that cross shards and have not ended."""

import asyncio
from pathlib import Path

import click

from tallystick.cli.errors import CommandError
from tallystick.cli.options import configuration_option, json_option
from tallystick.cli.output import print_fields, print_json, print_rows
from tallystick.cli.session import open_engine
from tallystick.domain.sagas import Stage
from tallystick.service.configuration import Configuration, read_configuration
from tallystick.service.logging import configure_logging
from tallystick.service.open_sagas import OpenSagas, Saga

_ENDED = {Stage.FINALIZED.value, Stage.RELEASED.value, Stage.SETTLED.value}


@click.command(
    epilog="\b\nExamples:\n  tallystick sagas\n  tallystick sagas --drive txn_00200000000054\n"
    "  tallystick sagas --drive txn_00200000000054 --give-up",
)
@configuration_option
@click.option("--drive", "transaction", metavar="TRANSACTION", help="Drive this transfer to its end now.")
@click.option(
    "--give-up",
    is_flag=True,
    help="With --drive: return the money. First the other shard records a refusal of the credit, unless it has "
    "posted the credit: then the transfer is finalized.",
)
@json_option
def sagas(*, configuration_path: Path, transaction: str | None, give_up: bool, as_json: bool) -> None:
    """List transfers that cross shards and have not ended: the stage and age of each, and the reason.

    Servers end them by themselves, as soon as all their shards can be reached.
    """
    configure_logging(default_level="error", for_people=True)
    configuration = read_configuration(configuration_path)
    if transaction is not None:
        _show_driven(asyncio.run(_drive(configuration, transaction, give_up=give_up)), as_json=as_json)
    elif give_up:
        raise click.UsageError("--give-up needs --drive TRANSACTION")
    else:
        _show_open(*asyncio.run(_open(configuration)), as_json=as_json)


async def _open(configuration: Configuration) -> tuple[list[Saga], dict[int, str]]:
    async with open_engine(configuration) as engine:
        return await OpenSagas(engine).open()


async def _drive(configuration: Configuration, transaction: str, *, give_up: bool) -> Saga:
    async with open_engine(configuration) as engine:
        return await OpenSagas(engine).drive(transaction, give_up=give_up)


def _show_open(found: list[Saga], silent: dict[int, str], *, as_json: bool) -> None:
    if as_json:
        print_json({"sagas": found, "shards_not_asked": silent})
    elif found:
        print_rows(
            ["transaction", "operation", "shards", "stage", "next step", "seconds", "why"],
            [
                (
                    saga.id,
                    saga.operation,
                    f"{saga.shard} to {', '.join(map(str, saga.other_shards))}",
                    saga.stage,
                    saga.step,
                    f"{saga.age_seconds:.1f}",
                    saga.why,
                )
                for saga in found
            ],
            numbers=["seconds"],
        )
    elif not silent:
        click.echo("No transfer between shards is open.")
    if silent:
        missing = ", ".join(f"shard {number} ({reason})" for number, reason in silent.items())
        raise CommandError(f"could not be asked: {missing}: start its database, and look again")


def _show_driven(saga: Saga, *, as_json: bool) -> None:
    if as_json:
        print_json(saga)
    else:
        print_fields({"transaction": saga.id, "stage": saga.stage})
    if saga.step is not None or saga.stage not in _ENDED:
        raise CommandError(f"it has not ended: {saga.why or 'the other shard did not answer in time'}")
