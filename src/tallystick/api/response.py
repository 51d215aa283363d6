"""The response of a call: its parts are set at once, because every payment has one."""

from http import HTTPStatus
from typing import Final

from falcon.asgi import Response
from msgspec import Struct

from tallystick import views
from tallystick.api.answers import is_pending, place_of
from tallystick.views.encoding import encode

_JSON: Final = "application/json"
_PENDING: Final = int(HTTPStatus.ACCEPTED)
_CREATED: Final = int(HTTPStatus.CREATED)


class Answer(Response):
    """A response of the framework that takes an answer of the API."""

    def answer(self, found: Struct, status: int, *, reading: bool) -> None:
        """Answer with what was found or done: with its place, if it is new or pending."""
        headers = self._headers
        if not reading:
            # A payment that was posted is the usual case.
            posted = isinstance(found, views.Transaction) and found.state == views.POSTED
            if not posted and is_pending(found):
                status = _PENDING
            if status in {_CREATED, _PENDING} and (place := place_of(found)) is not None:
                headers["location"] = place
        self.status = status
        headers["content-type"] = _JSON
        self._data = encode(found)
