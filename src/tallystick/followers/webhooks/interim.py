"""Limits the interim answers (RFC 9110, 15.2) of a receiver. The RFC sets no limit.

The client library reads and drops all of them. A receiver that sends nothing else would keep the event loop busy
until the time limit of the answer. Each of its messages is short, so they are counted while they are parsed.
"""

import asyncio
from typing import Any, Final

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.http_exceptions import HttpProcessingError

from tallystick.domain import limits

_INTERIM: Final = range(100, 200)
_BYTES_AT_A_TIME: Final = 4_096


class TooManyInterimAnswersError(HttpProcessingError):
    """A receiver sent too many interim answers."""

    def __init__(self) -> None:
        super().__init__(message=f"more than {limits.WEBHOOK_INTERIM_ANSWERS_MAX} interim answers")


class BoundedConnector(aiohttp.TCPConnector):
    """Connections on which the number of interim answers is bounded."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._factory = self._protocol  # type: ignore[assignment]  # any callable that makes a protocol

    def _protocol(self) -> ResponseHandler:
        return _BoundedAnswers(self._loop)


class _BoundedAnswers(ResponseHandler):
    """Parses data a little at a time, and stops when there are too many interim answers."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._interim_count = 0

    def data_received(self, data: bytes) -> None:
        for start in range(0, len(data), _BYTES_AT_A_TIME):
            if self._interim_count > limits.WEBHOOK_INTERIM_ANSWERS_MAX:
                return
            super().data_received(data[start : start + _BYTES_AT_A_TIME])

    def feed_data(self, data: Any, size: int = 0) -> None:
        message, _ = data
        self._interim_count = self._interim_count + 1 if message.code in _INTERIM else 0
        if self._interim_count > limits.WEBHOOK_INTERIM_ANSWERS_MAX:
            self.set_exception(TooManyInterimAnswersError())
            if self.transport is not None:
                self.transport.close()
            return
        super().feed_data(data, size)
