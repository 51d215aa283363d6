"""What the checks of `tallystick doctor` find."""

from enum import StrEnum
from typing import NamedTuple


class Severity(StrEnum):
    """How bad a finding is."""

    FINE = "fine"
    WARNING = "warning"
    """It works, and could be safer."""
    WRONG = "wrong"
    """Something does not work, or money may be lost."""
    UNKNOWN = "unknown"
    """It could not be checked."""


class Judgement(NamedTuple):
    """What one check says: how bad it is, and in words what is so, and what to do."""

    severity: Severity
    text: str


class Finding(NamedTuple):
    """The judgement of a check about one thing."""

    check: str
    about: str
    severity: Severity
    text: str


def fine(text: str) -> Judgement:
    """All is well. `text`: what was found."""
    return Judgement(Severity.FINE, text)


def warning(text: str) -> Judgement:
    """It works, and could be safer. `text`: what is so, why it matters, and what to do."""
    return Judgement(Severity.WARNING, text)


def wrong(text: str) -> Judgement:
    """It must be changed. `text`: what is so, why it matters, and what to do."""
    return Judgement(Severity.WRONG, text)


def unknown(text: str) -> Judgement:
    """It could not be checked. `text`: why, and what would help."""
    return Judgement(Severity.UNKNOWN, text)
