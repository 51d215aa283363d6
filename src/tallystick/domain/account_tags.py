"""The tag of an account, another one after each change that can be seen, and changes of single keys of metadata."""

import hashlib
from collections.abc import Mapping
from typing import Final

import msgspec

from tallystick.domain import limits
from tallystick.domain.accounts import AccountState

_TAG_DIGITS: Final = 32
_encode = msgspec.json.Encoder(order="sorted").encode
_decode_metadata = msgspec.json.Decoder(dict[str, str]).decode


def account_tag(
    position: int,
    status: str,
    min_balance: int | None,
    max_balance: int | None,
    metadata: Mapping[str, str],
) -> str:
    """The tag. The position of the newest entry stands for the balance; nothing else of an account ever changes."""
    seen = (position, status, min_balance, max_balance, metadata)
    return hashlib.sha256(_encode(seen)).hexdigest()[:_TAG_DIGITS]


def tag_of(state: AccountState) -> str:
    """The tag of an account in this state."""
    terms = state.terms
    metadata = {} if terms.metadata is None else _decode_metadata(terms.metadata)
    return account_tag(
        state.position, terms.status.name.lower(), terms.min_balance, terms.max_balance, metadata
    )


def changed_metadata(metadata: str | None, changes: Mapping[str, str | None]) -> dict[str, str]:
    """Metadata after changes of single keys (RFC 7396): None removes a key."""
    changed = {**({} if metadata is None else _decode_metadata(metadata)), **changes}
    return {key: value for key, value in changed.items() if value is not None}


def canonical_metadata(metadata: Mapping[str, str]) -> str | None:
    """The text of metadata in the log; None if there is none."""
    return _encode(metadata).decode() if metadata else None


def metadata_fits(metadata: str | None) -> bool:
    """Whether an account may have this metadata."""
    if metadata is None:
        return True
    if len(metadata.encode()) > limits.METADATA_BYTES_MAX:
        return False
    return len(_decode_metadata(metadata)) <= limits.METADATA_KEYS_MAX
