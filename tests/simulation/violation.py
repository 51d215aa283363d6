"""What the simulation looks for."""


class Violation(Exception):  # noqa: N818 - a finding about the books, not an error of the program
    """Something that must never be so, is so."""
