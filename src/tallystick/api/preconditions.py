"""`If-Match`: a call is carried out only if what it changes has one of the named tags (RFC 9110, 13.1.1)."""

import re
from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from tallystick import views
from tallystick.service.errors import ParameterError

HEADER: Final = "If-Match"
_NAME: Final = HEADER.lower().encode()
_ANY: Final = "*"
_TAG: Final = r'(?:W/)?"[!#-~\x80-\xff]*"'
# Empty elements of a list are allowed (RFC 9110, 5.6.1).
_LIST: Final = re.compile(rf"[ \t,]*{_TAG}(?:[ \t]*,[ \t,]*{_TAG})*[ \t,]*")


def wanted_tags(headers: Mapping[bytes, bytes]) -> frozenset[str] | None:
    """The tags of `If-Match`; None: any, also because there is no such header. A weak tag never matches.

    Raises:
        ParameterError: it is malformed.
    """
    sent = headers.get(_NAME)
    if sent is None:
        return None
    text = sent.decode("latin-1").strip()
    if text == _ANY:
        return None
    if not _LIST.fullmatch(text):
        raise ParameterError(HEADER, 'expected entity tags, such as "5f0c1a", with commas between, or *')
    return frozenset(tag[1:-1] for tag in re.findall(_TAG, text) if tag[0] == '"')


def tag_of(answer: Struct) -> str | None:
    """The strong entity tag of an answer as the header has it; None for what has none."""
    shown: Any = answer
    if isinstance(answer, views.NewSecret):
        shown = answer.webhook
    elif not isinstance(answer, views.Account | views.Webhook):
        shown = getattr(answer, "webhook", None)
    return None if shown is None else f'"{shown.tag}"'
