"""What commands print: tables for people, one line of JSON for scripts."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from tallystick.views.encoding import encode

_PIPE_CHARACTERS: Final = 1_000_000


def print_json(value: object) -> None:
    """Print one line of JSON."""
    click.echo(encode(value))


def print_fields(fields: Mapping[str, object]) -> None:
    """Print one thing: a name and a value on each line."""
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, value in fields.items():
        table.add_row(Text(name, style="bold"), _text(value))
    _print(table)


def print_rows(
    headings: Sequence[str], rows: Sequence[Sequence[object]], *, numbers: Sequence[str] = ()
) -> None:
    """Print many things as a table; columns named in `numbers` are aligned to the right."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading, justify="right" if heading in numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(_text, row))
    _print(table)


@contextmanager
def progress_of(what: str) -> Iterator[Callable[[int, int], None]]:
    """A line on stderr with the progress. Only a terminal shows it."""
    console = Console(stderr=True, highlight=False)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as shown:
        task = shown.add_task(what, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)


def time_text(value: datetime) -> str:
    """A time as all commands and the API write it: RFC 3339 in UTC."""
    return str(msgspec.to_builtins(value.astimezone(UTC)))


def _text(value: object) -> Text:
    # No markup, as an owner may be called "[red]". No control characters, which would reach the terminal.
    shown: Any = "-" if value is None else time_text(value) if isinstance(value, datetime) else value
    return Text(
        "".join(
            character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in str(shown)
        )
    )


def _print(table: Table) -> None:
    console = Console(highlight=False)
    if console.is_terminal:
        console.print(table)
        return
    # A pipe has no width: no line in it is cut, or filled with spaces.
    console.width = _PIPE_CHARACTERS
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        click.echo(line.rstrip())
