"""Typed short identifiers that carry their shard: `acct_…`, `txn_…`, `hold_…`.

An identifier is a positive 64-bit integer. The upper bits are the number of the shard, the lower bits a local number:
a random number for an account (so that accounts cannot be enumerated), the position in the log for a transaction or a
hold. So routing is arithmetic. As text it is 13 digits of Crockford's base 32 and one check character.
"""

from enum import StrEnum
from functools import lru_cache
from typing import Final

from tallystick.domain.limits import LOCAL_NUMBER_MAX, SHARD_NUMBER_MAX, SHARD_NUMBER_MIN

_LOCAL_BITS: Final = LOCAL_NUMBER_MAX.bit_length()
DIGITS: Final = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: no i, l, o, u
_DIGIT_COUNT: Final = 13
TEXT_DIGITS: Final = _DIGIT_COUNT + 1
_TEXT_CACHE_SIZE: Final = 65_536

# Python reads base 32 natively in the digits 0-9a-v.
_TO_PYTHON_DIGITS: Final = str.maketrans(DIGITS, "0123456789abcdefghijklmnopqrstuv")


class Prefix(StrEnum):
    """The sort of thing that an identifier names."""

    ACCOUNT = "acct"
    TRANSACTION = "txn"
    HOLD = "hold"


def identifier_pattern(prefix: str) -> str:
    """A regular expression for identifiers."""
    return f"^{prefix}_[{DIGITS}]{{{TEXT_DIGITS}}}$"


class IdentifierError(ValueError):
    """The text is not an identifier of the expected kind. The message says what is wrong."""


def _double(value: int) -> int:
    """Multiply by x in GF(2^5) with the primitive polynomial x^5 + x^2 + 1."""
    return (value << 1) ^ (0b100101 if value & 0b10000 else 0)


# Damm's check digit over the quasigroup a∘b = 2(a+b) of GF(2^5): it catches every single wrong
# character and every swap of neighbours (H. M. Damm, "Total anti-symmetrische Quasigruppen", 2004).
_CHECK_STEP: Final = tuple(_double(value) for value in range(32))

# Identifiers are written for every answer, so digits are handled in pairs: the text of a pair, and its effect on the
# check digit.
_PAIRS: Final = tuple(first + second for first in DIGITS for second in DIGITS)
_PAIR_CHECK_STEP: Final = tuple(
    tuple(_CHECK_STEP[_CHECK_STEP[interim ^ pair >> 5] ^ pair & 31] for pair in range(1024))
    for interim in range(32)
)


def _with_check(identifier: int) -> str:
    """The 13 digits of an identifier (six pairs and one digit), and its check character."""
    a = identifier >> 55 & 1023
    b = identifier >> 45 & 1023
    c = identifier >> 35 & 1023
    d = identifier >> 25 & 1023
    e = identifier >> 15 & 1023
    f = identifier >> 5 & 1023
    last = identifier & 31
    step = _PAIR_CHECK_STEP
    interim = step[step[step[step[step[step[0][a]][b]][c]][d]][e]][f]
    check = DIGITS[_CHECK_STEP[interim ^ last]]
    pairs = _PAIRS
    return pairs[a] + pairs[b] + pairs[c] + pairs[d] + pairs[e] + pairs[f] + DIGITS[last] + check


def make_identifier(shard: int, local: int) -> int:
    """Join a shard's number and a local number (a position, or a random number) into one identifier."""
    if not SHARD_NUMBER_MIN <= shard <= SHARD_NUMBER_MAX:
        raise IdentifierError(f"shard number {shard} is outside {SHARD_NUMBER_MIN} to {SHARD_NUMBER_MAX}")
    if not 0 < local <= LOCAL_NUMBER_MAX:
        raise IdentifierError(f"local number {local} is outside 1 to {LOCAL_NUMBER_MAX}")
    return shard << _LOCAL_BITS | local


def shard_of(identifier: int) -> int:
    """The number of the shard in an identifier."""
    return identifier >> _LOCAL_BITS


def local_of(identifier: int) -> int:
    """The local number in an identifier: the position of a transaction or a hold."""
    return identifier & LOCAL_NUMBER_MAX


@lru_cache(maxsize=_TEXT_CACHE_SIZE)
def format_identifier(prefix: Prefix, identifier: int) -> str:
    """Write an identifier as text, for example `acct_00800000000014`."""
    return f"{prefix}_{_with_check(identifier)}"


@lru_cache(maxsize=_TEXT_CACHE_SIZE)
def parse_identifier(prefix: Prefix, text: str) -> int:
    """Read an identifier of the given kind from text.

    Raises:
        IdentifierError: another kind, a wrong length, a character outside the alphabet, or a check
            character that does not fit (a typing mistake).
    """
    if not text.startswith(f"{prefix}_"):
        raise IdentifierError(f"expected an identifier that starts with {prefix}_")
    digits = text[len(prefix) + 1 :]
    if len(digits) != TEXT_DIGITS:
        raise IdentifierError(f"expected {prefix}_ and {TEXT_DIGITS} characters")
    try:
        identifier = int(digits[:-1].translate(_TO_PYTHON_DIGITS), 32)
    except ValueError:
        raise IdentifierError(f"expected only the characters {DIGITS} after {prefix}_") from None
    # It must be equal when it is written again: the check character fits, and there is no sign, space or foreign
    # digit.
    if identifier < 0 or _with_check(identifier) != digits:
        raise IdentifierError("the check character does not fit: the identifier was mistyped")
    if shard_of(identifier) > SHARD_NUMBER_MAX or not shard_of(identifier) or not local_of(identifier):
        raise IdentifierError("no shard has such an identifier")
    return identifier
