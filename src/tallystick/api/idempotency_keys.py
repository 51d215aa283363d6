r"""The header `Idempotency-Key`: a string as draft-ietf-httpapi-idempotency-key-header says, or bare text.

The string is that of RFC 8941 (3.3.3): `"order 17"`, with `\"` and `\\` inside. Any text that does not begin with a
quotation mark is bare. It is the key as it is: `k1` and `"k1"` are one key, as are `a"b` and `"a\"b"`.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from falcon.asgi import Request

from tallystick.api.calls import Key
from tallystick.service.errors import IdempotencyKeyMissingError, ParameterError

HEADER: Final = "Idempotency-Key"
REPLAYED_HEADER: Final = "Idempotency-Replayed"
KEY_PATTERN: Final = r'^([!#-~]([ -~]*[!-~])?|"([ !#-\[\]-~]|\\["\\])+")$'
"""Both forms, for the OpenAPI document."""

_NAME: Final = HEADER.lower().encode()
_QUOTE: Final = '"'
_COMMA: Final = ","
_STRING: Final = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"')
_ESCAPE: Final = re.compile(r'\\(["\\])')


def idempotency_key(request: Request, headers: Mapping[bytes, bytes], wanted: Key) -> str:
    """The key of a request; empty if it needs none and has none.

    Raises:
        IdempotencyKeyMissingError: it needs one.
        ParameterError: there are several, or it is malformed.
    """
    if wanted is Key.NONE:
        return ""
    key = headers.get(_NAME, b"").decode("latin-1")
    if _COMMA in key and _sent_count(request) > 1:
        # Joined with a comma they are a key that the client did not send.
        raise ParameterError(HEADER, "expected one such header")
    if not key:
        if wanted is Key.OPTIONAL and _NAME not in headers:
            return ""
        raise IdempotencyKeyMissingError
    if not (key.isascii() and key.isprintable()):
        # Programs on the way may read other bytes as different characters.
        raise ParameterError(HEADER, "expected printable ASCII characters")
    return _unquoted(key) if key[0] == _QUOTE else key


def _sent_count(request: Request) -> int:
    sent: Sequence[tuple[bytes, bytes]] = request.scope["headers"]
    return [name for name, _ in sent].count(_NAME)


def _unquoted(text: str) -> str:
    """The value of a string of RFC 8941."""
    match = _STRING.fullmatch(text)
    if match is None:
        raise ParameterError(
            HEADER,
            "expected one string and nothing after it, as draft-ietf-httpapi-idempotency-key-header says: "
            'such as "order 17", with a backslash before each quotation mark and backslash inside; '
            "or bare text that does not begin with a quotation mark",
        )
    if not match[1]:
        raise IdempotencyKeyMissingError
    return _ESCAPE.sub(r"\1", match[1])
