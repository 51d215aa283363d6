"""Outcomes of the ledger as the end of a command: what was posted goes on, a refusal ends it."""

from typing import TypeVar

from tallystick.cli.errors import CommandError
from tallystick.cli.output import print_json
from tallystick.domain.outcomes import Refused

Posted = TypeVar("Posted")


def expect_posted(outcome: Posted | Refused, *, as_json: bool) -> Posted:
    """Return what was posted; for a refusal print it when scripts read along, and end with its code and detail."""
    if not isinstance(outcome, Refused):
        return outcome
    if as_json:
        print_json({"code": outcome.code.text, "param": outcome.param, "detail": outcome.detail})
    where = "" if outcome.param is None else f" [{outcome.param}]"
    raise CommandError(f"{outcome.code.text}{where}: {outcome.detail}")
