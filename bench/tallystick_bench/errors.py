"""Why a benchmark cannot be run."""

import click


class BenchError(click.ClickException):
    """The benchmark cannot be run; the message is one line that says what to do."""
