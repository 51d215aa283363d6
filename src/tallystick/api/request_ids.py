"""The identifier of each request: the client's `X-Request-Id`, or one that is made here. Every answer has it."""

import re
import secrets
import uuid
from typing import Any, Final
from urllib.parse import quote

from tallystick.api.streams import Scope, Send
from tallystick.domain import limits
from tallystick.service.current_request import REQUEST_ID

HEADER: Final = "X-Request-Id"
REQUEST_ID_PATTERN: Final = f"^[!-~]{{1,{limits.REQUEST_ID_CHARACTERS_MAX}}}$"
INVALID: Final = "tallystick.request_id_invalid"
"""It is in the scope of a request whose own identifier was not accepted."""

_NAME: Final = HEADER.lower().encode()
_START: Final = "http.response.start"
_ACCEPTED: Final = re.compile(REQUEST_ID_PATTERN.encode(), re.DOTALL)
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)


class RequestIds:
    """Gives each request of this process its identifier."""

    def __init__(self) -> None:
        # Identifiers are UUIDs of version 8 (RFC 9562): random for the process, and then counted. To draw each would
        # cost some calls in every payment.
        drawn = secrets.token_hex(9)
        self._beginning = f"{drawn[:8]}-{drawn[8:12]}-8{drawn[12:15]}-a{drawn[15:]}-".encode()
        self._count = 0

    def identified(self, scope: Scope, send: Send) -> Send:
        """Name a request, and its answer."""
        sent: bytes | None = None
        for name, value in scope["headers"]:
            if name == _NAME:
                # Of several, none is accepted.
                sent = value if sent is None else b""
        if sent is not None and _ACCEPTED.fullmatch(sent):
            identifier = sent
        else:
            if sent is not None:
                scope[INVALID] = True
            self._count += 1
            identifier = b"%b%012x" % (self._beginning, self._count)
        scope[REQUEST_ID] = identifier
        header = (_NAME, identifier)

        def send_with_it(message: dict[str, Any]) -> Any:
            if message["type"] == _START:
                message["headers"] = [*message["headers"], header]
            return send(message)

        return send_with_it


def instance_of(identifier: str) -> str:
    """A request as a URI, for problem documents."""
    if _UUID.fullmatch(identifier):
        return uuid.UUID(identifier).urn
    return f"urn:tallystick:request:{quote(identifier, safe='')}"


def instance_of_key(key: bytes) -> str:
    """What is recorded under an idempotency key as a URI: the same in each answer to the key."""
    return f"urn:tallystick:key:{key.hex()}"
