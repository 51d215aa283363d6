"""What must be there, whatever callers ask for. Where it is not, the log or the code is broken."""

from typing import TypeVar

Value = TypeVar("Value")


class BrokenInvariantError(Exception):
    """Something is missing that a rule, or the log, must have made: a bug, or a log that was changed.

    Nothing was written. A number or a text in its place would be a wrong answer without a sign.
    """


def required(value: Value | None, what: str) -> Value:
    """The value, which must be there. `what` names it for the alarm.

    Raises:
        BrokenInvariantError: it is not there.
    """
    if value is None:
        raise BrokenInvariantError(f"{what} is missing")
    return value
