"""System owners, such as `@fees`: owners with an account on every shard. Each account is opened when first needed."""

import re
from typing import Final

import msgspec

from tallystick.domain.limits import SYSTEM_OWNER_CHARACTERS_MAX

SIGN: Final = "@"
"""The first character of the name of a system owner, and of no other owner."""

_NAME: Final = r"[a-z][a-z0-9]*(-[a-z0-9]+)*"
PATTERN: Final = rf"{SIGN}{_NAME}"
_matches: Final = re.compile(PATTERN, re.ASCII).fullmatch


class SystemAccount(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """The account of a system owner on one shard, whether it is open or not."""

    account: int
    owner: str
    asset: str


def is_system_owner(name: str) -> bool:
    """Whether this is the name of a system owner: `@`, and words of a-z and 0-9 that are joined by `-`."""
    return len(name) <= SYSTEM_OWNER_CHARACTERS_MAX and _matches(name) is not None
