"""Bodies that are a JSON Merge Patch (RFC 7396): what is left out stays, and null removes."""

from collections.abc import Mapping
from typing import Final

MERGE_PATCH: Final = "application/merge-patch+json"
MERGE_TYPE: Final = MERGE_PATCH.encode()
_TYPE_HEADER: Final = b"content-type"


def is_merge_patch(headers: Mapping[bytes, bytes]) -> bool:
    """Whether the body of a request is sent as a merge patch."""
    return headers.get(_TYPE_HEADER, b"").partition(b";")[0].strip().lower() == MERGE_TYPE
