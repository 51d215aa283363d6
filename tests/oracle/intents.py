"""What Hypothesis draws, before it is known what it means."""

from typing import NamedTuple


class Intent(NamedTuple):
    """One command to be. What the numbers mean depends on the action."""

    action: str
    tenant: int
    asset: str
    first: int
    second: int
    fault: str
    amount: str
    offset: int
    key: str
    note: tuple[str | None, str | None, int | None]
    flag: bool
    wait: int
    bounds: str
