"""Values that must exist, whatever callers ask for. If one is missing, the log or the code is broken."""

from typing import TypeVar

Value = TypeVar("Value")


class BrokenInvariantError(Exception):
    """A value is missing that a rule or the log must have made. This is a bug, or the log was changed.

    Nothing was written. A default in its place would be a wrong answer that goes unnoticed.
    """


def required(value: Value | None, what: str) -> Value:
    """The value, which must exist. `what` names it for the alarm.

    Raises:
        BrokenInvariantError: the value is None.
    """
    if value is None:
        raise BrokenInvariantError(f"{what} is missing")
    return value
