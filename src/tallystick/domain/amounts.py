"""Amounts: integers in an asset's minor units, never floats.

In JSON an amount is a string of decimal digits (`"1250"`), because many JSON readers keep numbers as
doubles and lose cents above 2^53; an integer is accepted too.
"""

from typing import Final

from tallystick.domain.limits import INT64_MAX, INT64_MIN

_DIGITS_MAX: Final = len(str(INT64_MAX))
_RIGHT: Final = 'an integer of minor units, such as "1250"'


class AmountError(ValueError):
    """The text or number is not an amount. The message says what is expected."""


def parse_integer(value: object) -> int:
    """Read an int64 from its one canonical text (no sign but `-`, no leading zeros) or a JSON integer."""
    if isinstance(value, int) and not isinstance(value, bool):
        number = value
    elif not isinstance(value, str):
        raise AmountError(f"expected {_RIGHT}, not {type(value).__name__}")
    else:
        digits = value.removeprefix("-")
        if not (digits.isascii() and digits.isdigit()):
            raise AmountError(f"expected {_RIGHT}")
        if (digits[0] == "0" and len(digits) > 1) or value == "-0":
            raise AmountError(f"expected {_RIGHT}, without leading zeros")
        if len(digits) > _DIGITS_MAX:
            raise AmountError(_beyond(negative=digits is not value))
        number = int(digits) if digits is value else -int(digits)
    if not INT64_MIN <= number <= INT64_MAX:
        raise AmountError(_beyond(negative=number < 0))
    return number


def _beyond(*, negative: bool) -> str:
    return f"expected at least {INT64_MIN}" if negative else f"expected at most {INT64_MAX}"


def parse_amount(value: object) -> int:
    """Read an amount to move: from 1 to 2^63 - 1 minor units."""
    number = parse_integer(value)
    if number <= 0:
        raise AmountError("expected more than zero")
    return number
