"""Outcomes of the ledger in commands: a refusal ends the command."""

from typing import TypeVar

from tallystick.cli.errors import CommandError
from tallystick.cli.output import print_json
from tallystick.domain.outcomes import Refused

Posted = TypeVar("Posted")


def expect_posted(outcome: Posted | Refused, *, as_json: bool) -> Posted:
    """Return what was posted. A refusal ends the command with its code and detail, and is printed for scripts."""
    if not isinstance(outcome, Refused):
        return outcome
    if as_json:
        print_json({"code": outcome.code.text, "param": outcome.param, "detail": outcome.detail})
    where = "" if outcome.param is None else f" [{outcome.param}]"
    raise CommandError(f"{outcome.code.text}{where}: {outcome.detail}")
