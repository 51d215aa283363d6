"""`tallystick`: the group of all commands, each imported only when it runs."""

import importlib
import os
import sys
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Final, NamedTuple, NoReturn

import click

from tallystick.extras import ALL, MissingExtraError, require_extra


class _Place(NamedTuple):
    """The module of a command, its help in one line, and the extra it needs, without importing it."""

    module: str
    summary: str
    extra: str | None = None


_COMMANDS: Final = {
    "up": _Place("tallystick.cli.up", "Start everything on this machine and move money.", ALL),
    "serve": _Place("tallystick.cli.serve", "Serve the HTTP API.", "server"),
    "migrate": _Place("tallystick.cli.migrate", "Bring the databases of all shards to this version."),
    "keys": _Place("tallystick.cli.keys", "Make, list and revoke API keys."),
    "accounts": _Place("tallystick.cli.accounts", "Open, show and change accounts."),
    "transfer": _Place("tallystick.cli.transfer", "Move money from one account to another."),
    "sagas": _Place("tallystick.cli.sagas", "List transfers between shards that have not ended."),
    "webhooks": _Place("tallystick.cli.webhooks", "Manage webhook endpoints and their keys.", "webhooks"),
    "verify": _Place("tallystick.cli.verify", "Check the whole ledger."),
    "restored": _Place(
        "tallystick.cli.restored", "Continue the log of a shard that was restored from a back-up."
    ),
    "doctor": _Place("tallystick.cli.doctor", "Check settings, rights, clocks, disk and certificates."),
    "cluster": _Place(
        "tallystick.cli.cluster.command", "Run a cluster on this machine, and switch parts of it off."
    ),
}
_BENCH: Final = "bench"
_BENCH_SUMMARY: Final = "Measure on this machine."


class Commands(click.Group):
    """A group that finds its commands in a table, so that `--help` is quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of the commands, in the order in which users need them."""
        return [*_COMMANDS, *([] if _bench() is None else [_BENCH])]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command: the attribute with its name in its module.

        Raises:
            MissingExtraError: an extra that it needs is not installed.
        """
        command: click.Command
        if cmd_name == _BENCH:
            if (found := _bench()) is None:
                raise click.ClickException(
                    "what measures is not installed with the library: run `make bench` in a clone of the repository"
                )
            command = found.load()
            return command
        place = _COMMANDS.get(cmd_name)
        if place is None:
            return None
        if place.extra is not None:
            require_extra(place.extra, f"tallystick {cmd_name}")
        command = getattr(importlib.import_module(place.module), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands for `--help`, without importing them."""
        with formatter.section("Commands"):
            summaries = {name: place.summary for name, place in _COMMANDS.items()} | {_BENCH: _BENCH_SUMMARY}
            formatter.write_dl([(name, summaries[name]) for name in self.list_commands(ctx)])


def _bench() -> EntryPoint | None:
    """The command of the benchmark, a package that users of the library do not install."""
    return next(iter(entry_points(group="tallystick.commands", name=_BENCH)), None)


@click.group(
    cls=Commands,
    epilog="Begin with: tallystick up",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="tallystick", prog_name="tallystick")
def commands() -> None:
    """A digital wallet and double-entry ledger on PostgreSQL."""


def main() -> NoReturn:
    """Run a command and end the process: status 0, 1 if it failed, 2 if its arguments are wrong."""
    if os.geteuid() == 0 and Path(__file__).stat().st_uid != 0:
        sys.dont_write_bytecode = True  # so that root leaves no files in a user's folder
    try:
        status = _run()
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx is not None else "tallystick"
        _fail(f"{error.format_message().removesuffix('.')} (see {where} --help)", 2)
    except click.ClickException as error:
        _fail(error.format_message(), error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        _fail("interrupted", 130)
    except BrokenPipeError:
        # The reader of the output has closed it. Python must not fail again when it flushes the rest.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except MissingExtraError as error:
        _fail(str(error), 1)
    except Exception as error:
        # Imported here, with all drivers: earlier, Ctrl-C during the import would print a traceback.
        if not isinstance(error, importlib.import_module("tallystick.cli.errors").EXPECTED_ERRORS):
            raise
        _fail(str(error), 1)
    sys.exit(status if isinstance(status, int) else 0)


def _run() -> object:
    try:
        return commands.main(prog_name="tallystick", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as asked:
        # A group without a command shows its help.
        click.echo(asked.ctx.get_help() if asked.ctx is not None else asked.format_message())
        return 0


def _fail(message: str, status: int) -> NoReturn:
    click.echo(f"error: {' '.join(message.split())}", err=True)
    sys.exit(status)
