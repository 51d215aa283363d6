"""The first stage of every request: it refuses forms that other programs may read differently."""

from typing import Final

from tallystick.api.arrivals import BODY, Arrivals, Body
from tallystick.api.draining import Draining, asking_to_close
from tallystick.api.request_ids import RequestIds
from tallystick.api.streams import Application, Consumers, Receive, Scope, Send
from tallystick.service.current_request import serve

_NO_PATH: Final = "/-"
"""A path that does not exist: the answer is 404."""


class Edge:
    """The application behind it gets one form of each path, known versions of HTTP, and bodies that end."""

    def __init__(self, application: Application, arrivals: Arrivals, draining: Draining) -> None:
        self._application = application
        self._streaming = Consumers(application)
        self._arrivals = arrivals
        self._draining = draining
        self._request_ids = RequestIds()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        if scope["http_version"] == "1":
            # The server's name for 1.0, which the framework does not know.
            scope["http_version"] = "1.0"
        if _is_ambiguous(scope["path"], scope["raw_path"]):
            scope["path"] = _NO_PATH
        body = scope[BODY] = Body(receive, self._arrivals)
        if self._draining.begun:
            send = asking_to_close(send)
        send = self._request_ids.identified(scope, send)
        serve(scope)
        # No stream is asked for by POST: payments need not look through their headers.
        application = self._application if scope["method"] == "POST" else self._streaming
        await application(scope, body.receive, send)


def _is_ambiguous(path: str, raw: bytes) -> bool:
    """Whether a proxy may read another path: empty segments or encoded separators (RFC 3986, 6.2)."""
    return b"//" in raw or "\\" in path or (b"%" in raw and path.count("/") != raw.count(b"/"))
