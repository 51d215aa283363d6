"""Lists that are read page by page."""

from typing import Generic, TypeVar

import msgspec

Item = TypeVar("Item")


class Page(msgspec.Struct, Generic[Item], frozen=True):
    """One page of a list. `next_cursor` leads to the next page; None at the end."""

    items: list[Item]
    next_cursor: str | None
