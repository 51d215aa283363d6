"""Parameters: converts the values of callers to values of the ledger. Errors say what is expected."""

import re
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from types import UnionType
from typing import Final, TypeVar

import msgspec

from tallystick.domain import limits
from tallystick.domain.amounts import AmountError, parse_amount, parse_integer
from tallystick.domain.commands import NO_NOTE, Note
from tallystick.domain.identifiers import IdentifierError, Prefix, parse_identifier
from tallystick.domain.system_owners import SIGN, is_system_owner
from tallystick.domain.times import microseconds_of
from tallystick.service.errors import IdempotencyKeyMissingError, ParameterError

Choice = TypeVar("Choice")

_ASSET_CODE: Final = re.compile(r"[A-Z][A-Z0-9_]{2,11}", re.ASCII)
_FUTURE_TOLERANCE_US: Final = 60 * 1_000_000
_EARLIEST: Final = datetime(1900, 1, 1, tzinfo=UTC)
_encode_canonical = msgspec.json.Encoder(order="sorted").encode


def account(text: str, param: str) -> int:
    """An account's identifier."""
    return _identifier(Prefix.ACCOUNT, text, param)


def party(text: str, param: str) -> int | str:
    """An account's identifier, or the name of a system owner."""
    if isinstance(text, str) and text.startswith(SIGN):
        return system_owner(text, param)
    return _identifier(Prefix.ACCOUNT, text, param)


def system_owner(name: str, param: str) -> str:
    """The name of a system owner."""
    if not is_system_owner(name):
        raise ParameterError(
            param,
            f"expected {SIGN} and words of a-z and 0-9, joined by -, such as @fees or @bank-in: "
            f"at most {limits.SYSTEM_OWNER_CHARACTERS_MAX} characters",
        )
    return name


def ordinary_owner(name: str, param: str) -> str:
    """The name of an owner that is not a system owner."""
    if _words(name, param).startswith(SIGN):
        raise ParameterError(
            param,
            f"expected no {SIGN} at the beginning: a system owner's accounts are opened when they are first needed",
        )
    return text(name, param, limits.OWNER_CHARACTERS_MAX)


def transaction(text: str, param: str) -> int:
    """A transaction's identifier."""
    return _identifier(Prefix.TRANSACTION, text, param)


def hold(text: str, param: str) -> int:
    """A hold's identifier."""
    return _identifier(Prefix.HOLD, text, param)


def amount(value: str | int, param: str) -> int:
    """An amount to move, more than zero."""
    try:
        return parse_amount(value)
    except AmountError as error:
        raise ParameterError(param, str(error)) from None


def signed_amount(value: str | int, param: str) -> int:
    """The amount of an entry: a debit is negative, a credit positive."""
    number = integer(value, param)
    if not number:
        raise ParameterError(param, "expected an amount other than zero")
    if number < -limits.AMOUNT_MAX:
        raise ParameterError(param, f"expected at least -{limits.AMOUNT_MAX}")
    return number


def integer(value: str | int, param: str) -> int:
    """A bound of a balance: any int64."""
    try:
        return parse_integer(value)
    except AmountError as error:
        raise ParameterError(param, str(error)) from None


def text(value: str, param: str, characters_max: int, characters_min: int = 1) -> str:
    """A text that PostgreSQL can store: no NUL, no half of a surrogate pair, not too long."""
    if not isinstance(value, str):
        raise _not_text(value, param)
    if not characters_min <= len(value) <= characters_max:
        raise ParameterError(param, f"expected {characters_min} to {characters_max} characters")
    if "\0" in value:
        raise ParameterError(param, "expected no NUL character")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ParameterError(param, "expected valid Unicode, not half of a surrogate pair") from None
    return value


def metadata(value: Mapping[str, str] | None, param: str = "metadata") -> str | None:
    """Canonical JSON of a caller's metadata: keys sorted, nothing for an empty one."""
    _expect(value, param, Mapping | None, "a mapping of texts")
    if not value:
        return None
    if len(value) > limits.METADATA_KEYS_MAX:
        raise ParameterError(param, f"expected at most {limits.METADATA_KEYS_MAX} keys")
    for key, item in value.items():
        text(key, f"{param}.{key}", limits.METADATA_KEY_CHARACTERS_MAX)
        text(item, f"{param}.{key}", limits.METADATA_BYTES_MAX, 0)
    encoded = _encode_canonical(value)
    if len(encoded) > limits.METADATA_BYTES_MAX:
        raise ParameterError(param, f"expected at most {limits.METADATA_BYTES_MAX} bytes as JSON")
    return encoded.decode()


def metadata_changes(value: Mapping[str, str | None], param: str = "metadata") -> str:
    """Canonical JSON of changes of single keys: None removes a key."""
    _expect(value, param, Mapping, "a mapping of texts")
    if len(value) > 2 * limits.METADATA_KEYS_MAX:
        raise ParameterError(param, f"expected changes of at most {2 * limits.METADATA_KEYS_MAX} keys")
    for key, item in value.items():
        text(key, f"{param}.{key}", limits.METADATA_KEY_CHARACTERS_MAX)
        if item is not None:
            text(item, f"{param}.{key}", limits.METADATA_BYTES_MAX, 0)
    return _encode_canonical(value).decode()


def note(
    description: str | None,
    entries: Mapping[str, str] | None,
    effective_at: datetime | None,
    prefix: str = "",
) -> Note:
    """A caller's description, metadata and effective time."""
    if description is None and not entries and effective_at is None:
        return NO_NOTE
    if description is not None:
        text(description, f"{prefix}description", limits.DESCRIPTION_CHARACTERS_MAX)
    effective_at_us = None if effective_at is None else past_time(effective_at, f"{prefix}effective_at")
    return Note(description, metadata(entries, f"{prefix}metadata"), effective_at_us)


def past_time(value: datetime, param: str) -> int:
    """A time that is not in the future, as microseconds since 1970."""
    _expect(value, param, datetime, "a datetime")
    if value.tzinfo is None:
        raise ParameterError(param, "expected a time with its zone, such as 2026-01-31T12:00:00Z")
    at_us = microseconds_of(value)
    if at_us > time.time_ns() // 1000 + _FUTURE_TOLERANCE_US:
        raise ParameterError(param, "expected a time that is not in the future")
    if value < _EARLIEST:
        raise ParameterError(param, "expected a time after 1900")
    return at_us


def idempotency_key(value: str | None, param: str = "Idempotency-Key") -> str:
    """The idempotency key of a request."""
    if value is None or not value:
        raise IdempotencyKeyMissingError(param)
    return text(value, param, limits.IDEMPOTENCY_KEY_CHARACTERS_MAX)


def asset_code(value: str, param: str) -> str:
    """An asset's code. Only its form is checked, not whether the asset exists."""
    if not isinstance(value, str):
        raise _not_text(value, param)
    if not _ASSET_CODE.fullmatch(value):
        raise ParameterError(
            param, "expected an asset's code: 3 to 12 of A-Z, 0-9 and _, beginning with a letter"
        )
    return value


def choice(value: str, choices: Mapping[str, Choice], param: str) -> Choice:
    """One of several words."""
    if _words(value, param) not in choices:
        raise ParameterError(param, f"expected one of {', '.join(choices)}")
    return choices[value]


def count(items: Sequence[object], param: str, count_min: int, count_max: int) -> None:
    """The number of items in a list."""
    if not count_min <= len(items) <= count_max:
        raise ParameterError(param, f"expected {count_min} to {count_max} items")


def between(value: int, param: str, value_min: int, value_max: int) -> int:
    """A number within bounds."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ParameterError(param, f"expected an integer, not {type(value).__name__}")
    if not value_min <= value <= value_max:
        raise ParameterError(param, f"expected {value_min} to {value_max}")
    return value


def page_limit(value: int) -> int:
    """The number of items on a page. A larger one than there may be means the largest (AIP-158)."""
    return min(between(value, "limit", 1, limits.INT64_MAX), limits.PAGE_ROWS_MAX)


def asset_scale(value: int) -> int:
    """The digits after the point of an asset, with which an amount can be at least one whole unit."""
    if between(value, "scale", 0, limits.INT64_MAX) > limits.ASSET_SCALE_MAX:
        raise ParameterError(
            "scale",
            f"expected 0 to {limits.ASSET_SCALE_MAX}: an amount is an integer of 64 bits, at most "
            f"{limits.AMOUNT_MAX} minor units, and with more digits that is less than one whole unit",
        )
    return value


def _words(value: object, param: str) -> str:
    """A text. Only callers in Python can send anything else."""
    if isinstance(value, str):
        return value
    raise _not_text(value, param)


def _not_text(value: object, param: str) -> ParameterError:
    return ParameterError(param, f"expected text, not {type(value).__name__}")


def _expect(value: object, param: str, kind: type | UnionType, words: str) -> None:
    if not isinstance(value, kind):
        raise ParameterError(param, f"expected {words}, not {type(value).__name__}")


def _identifier(prefix: Prefix, value: str, param: str) -> int:
    try:
        if not isinstance(value, str):
            raise _not_text(value, param)
        return parse_identifier(prefix, value)
    except IdentifierError as error:
        raise ParameterError(param, str(error)) from None
