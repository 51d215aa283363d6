"""Opaque cursors: the place at which the next page of a list begins."""

import base64
import binascii
import hashlib
import re
from collections.abc import Hashable
from typing import Annotated, Final, TypeVar

import msgspec

from tallystick.domain.limits import INT64_MAX
from tallystick.service.errors import ParameterError

_PLACE_BYTES: Final = 8
_SCOPE_BYTES: Final = 8
_VERSION: Final = 1

Place = TypeVar("Place")
PlaceNumber = Annotated[int, msgspec.Meta(ge=0, le=INT64_MAX)]
"""A position in a cursor, which a caller may have changed."""


def write_cursor(place: int) -> str:
    """A cursor for a place in a list."""
    return base64.urlsafe_b64encode(place.to_bytes(_PLACE_BYTES, "big")).decode().rstrip("=")


def read_cursor(text: str | None) -> int | None:
    """The place that a cursor stands for; None for the beginning."""
    if text is None:
        return None
    place = _bytes_of(text)
    if len(place) != _PLACE_BYTES or int.from_bytes(place, "big") > INT64_MAX:
        raise _not_ours()
    return int.from_bytes(place, "big")


def write_bound_cursor(place: object, scope: Hashable) -> str:
    """A cursor for a place in one list: that of a query of a tenant, which `scope` names.

    `place` is anything that MessagePack can hold, such as a name or a tuple.
    """
    written = _mark(scope) + msgspec.msgpack.encode(place)
    return base64.urlsafe_b64encode(written).decode().rstrip("=")


def read_bound_cursor(text: str | None, scope: Hashable, kind: type[Place]) -> Place | None:
    """The place that a cursor stands for; None for the beginning.

    Raises:
        ParameterError: the cursor is of another query, of another tenant, or of another version, or was changed.
    """
    if text is None:
        return None
    written = _bytes_of(text)
    if written[:_SCOPE_BYTES] != _mark(scope):
        raise _not_ours()
    try:
        return msgspec.msgpack.decode(written[_SCOPE_BYTES:], type=kind)
    except msgspec.MsgspecError:
        raise _not_ours() from None


def _mark(scope: Hashable) -> bytes:
    """What says that a cursor belongs to a query. It is no secret: a place gives no right to anything."""
    return hashlib.sha256(repr((_VERSION, scope)).encode()).digest()[:_SCOPE_BYTES]


def write_text_cursor(parts: list[str]) -> str:
    """A cursor for a place that takes several texts."""
    return base64.urlsafe_b64encode(msgspec.json.encode(parts)).decode().rstrip("=")


def read_text_cursor(text: str | None, part_count: int) -> list[str] | None:
    """The texts that a cursor stands for; None for the beginning."""
    if text is None:
        return None
    try:
        parts = msgspec.json.decode(_bytes_of(text), type=list[str])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise _not_ours() from None
    if len(parts) != part_count:
        raise _not_ours()
    return parts


def write_name_cursor(list_name: str, name: str) -> str:
    """A cursor for a place in a list that is in the order of names."""
    return base64.urlsafe_b64encode(f"{list_name}\n{name}".encode()).decode().rstrip("=")


def read_name_cursor(list_name: str, text: str | None, form: re.Pattern[str]) -> str | None:
    """The name that a cursor stands for, which has this form; None for the beginning."""
    if text is None:
        return None
    try:
        place = _bytes_of(text).decode()
    except UnicodeDecodeError:
        raise _not_ours() from None
    of_list, separator, name = place.partition("\n")
    unchanged = separator and write_name_cursor(list_name, name) == text
    if not unchanged or of_list != list_name or not form.fullmatch(name):
        raise _not_ours()
    return name


def _bytes_of(text: str) -> bytes:
    if not isinstance(text, str):
        raise ParameterError("cursor", f"expected text, not {type(text).__name__}")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise _not_ours() from None


def _not_ours() -> ParameterError:
    return ParameterError("cursor", "expected next_cursor of an earlier page of this list, unchanged")
