"""`tallystick doctor`: whether an installation is set up well, and what to do where it is not."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Final

import click

from tallystick.cli.options import configuration_option, json_option, owner_option
from tallystick.cli.output import print_json, print_rows
from tallystick.service.doctor.findings import Severity
from tallystick.service.doctor.installation import examine_installation
from tallystick.service.logging import configure_logging

_EXIT_STATUS_WRONG: Final = 1
_WORST_FIRST: Final = (Severity.WRONG, Severity.WARNING, Severity.UNKNOWN, Severity.FINE)


@click.command(epilog="Example: tallystick doctor --processes 4")
@configuration_option
@owner_option
@click.option(
    "--processes",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="How many processes of `tallystick serve` use these databases: all workers of all servers.",
)
@click.option("--all", "with_fine", is_flag=True, help="Also list what is fine.")
@json_option
def doctor(
    *, configuration_path: Path, owner_path: Path | None, processes: int, with_fine: bool, as_json: bool
) -> None:
    """Check settings, rights, clocks, disk, cache and certificates, and say what to do.

    It changes nothing. Servers may run. Exit status 1 if anything is wrong; warnings do not count.
    """
    configure_logging(default_level="error", for_people=True)
    found = asyncio.run(examine_installation(configuration_path, owner_path, processes))
    counts = Counter(finding.severity for finding in found)
    if as_json:
        print_json({"ok": not counts[Severity.WRONG], "findings": [finding._asdict() for finding in found]})
    else:
        shown = [finding for finding in found if with_fine or finding.severity is not Severity.FINE]
        if shown:
            shown.sort(key=lambda finding: _WORST_FIRST.index(finding.severity))
            print_rows(
                ["", "about", "check", "what, and what to do"],
                [(finding.severity.value, finding.about, finding.check, finding.text) for finding in shown],
            )
        click.echo(", ".join(_counted(counts[severity], severity) for severity in _WORST_FIRST))
    if counts[Severity.WRONG]:
        click.get_current_context().exit(_EXIT_STATUS_WRONG)


def _counted(count: int, severity: Severity) -> str:
    plural = severity is Severity.WARNING and count != 1  # the other words are adjectives
    return f"{count} {severity.value}{'s' if plural else ''}"
