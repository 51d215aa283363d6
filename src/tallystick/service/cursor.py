"""Opaque cursors: the place at which the next page of a list begins."""

import base64
import binascii
import re
from typing import Final

import msgspec

from tallystick.domain.limits import INT64_MAX
from tallystick.service.errors import ParameterError

_PLACE_BYTES: Final = 8


def write_cursor(place: int) -> str:
    """A cursor for a place in a list."""
    return base64.urlsafe_b64encode(place.to_bytes(_PLACE_BYTES, "big")).decode().rstrip("=")


def read_cursor(text: str | None) -> int | None:
    """The place that a cursor stands for; None for the beginning."""
    if text is None:
        return None
    if not isinstance(text, str):
        raise ParameterError("cursor", f"expected text, not {type(text).__name__}")
    try:
        place = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        place = b""
    if len(place) != _PLACE_BYTES or int.from_bytes(place, "big") > INT64_MAX:
        raise ParameterError("cursor", "expected next_cursor of an earlier page, unchanged")
    return int.from_bytes(place, "big")


def write_text_cursor(parts: list[str]) -> str:
    """A cursor for a place that takes several texts."""
    return base64.urlsafe_b64encode(msgspec.json.encode(parts)).decode().rstrip("=")


def read_text_cursor(text: str | None, part_count: int) -> list[str] | None:
    """The texts that a cursor stands for; None for the beginning."""
    if text is None:
        return None
    try:
        encoded = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        parts = msgspec.json.decode(encoded, type=list[str])
    except (binascii.Error, ValueError):
        parts = []
    if len(parts) != part_count:
        raise ParameterError("cursor", "expected next_cursor of an earlier page, unchanged")
    return parts


def write_name_cursor(list_name: str, name: str) -> str:
    """A cursor for a place in a list that is in the order of names."""
    return base64.urlsafe_b64encode(f"{list_name}\n{name}".encode()).decode().rstrip("=")


def read_name_cursor(list_name: str, text: str | None, form: re.Pattern[str]) -> str | None:
    """The name that a cursor stands for, which has this form; None for the beginning."""
    if text is None:
        return None
    if not isinstance(text, str):
        raise ParameterError("cursor", f"expected text, not {type(text).__name__}")
    try:
        place = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        place = ""
    of_list, separator, name = place.partition("\n")
    unchanged = separator and write_name_cursor(list_name, name) == text
    if not unchanged or of_list != list_name or not form.fullmatch(name):
        raise ParameterError("cursor", "expected next_cursor of an earlier page of this list, unchanged")
    return name
