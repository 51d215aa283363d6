"""Requests over HTTP, each of which is recorded before it is sent and when it has ended."""

import asyncio
import json
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, Self

import aiohttp

from tests.chaos.history import Completed, Recorder

ANSWER_SECONDS_MAX: Final = 4.0
CONNECT_SECONDS_MAX: Final = 1.0
HUNG_UP: Final = "hung up"
NO_ANSWER: Final = "no answer in time"


class Calls:
    """Sends requests to servers as one tenant, and records them."""

    def __init__(self, api_key: str, recorder: Recorder) -> None:
        self._recorder = recorder
        self._headers = {"Authorization": f"Bearer {api_key}"}
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS_MAX),
            headers=self._headers,
        )
        return self

    async def __aexit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._session is not None
        await self._session.close()

    async def ask(
        self,
        server: str,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        key: str | None = None,
        client: int,
        operation: int,
        kind: str,
        hang_up_seconds: float | None = None,
    ) -> Completed:
        """Send a request and wait for its answer, or hang up after some time."""
        assert self._session is not None
        text = None if body is None else json.dumps(body)
        headers = {} if text is None else {"Content-Type": "application/json"}
        if key is not None:
            headers["Idempotency-Key"] = key
        request = self._recorder.invoked(
            client=client, operation=operation, kind=kind,
            server=server, method=method, path=path, key=key, body=text,
        )  # fmt: skip
        try:
            async with (
                asyncio.timeout(ANSWER_SECONDS_MAX if hang_up_seconds is None else hang_up_seconds),
                self._session.request(method, server + path, data=text, headers=headers) as response,
            ):
                answer = await response.text()
                return self._recorder.completed(request, response.status, answer)
        except TimeoutError:
            error = NO_ANSWER if hang_up_seconds is None else HUNG_UP
        except (aiohttp.ClientError, OSError) as lost:
            error = repr(lost)
        return self._recorder.completed(request, error=error)

    async def read(self, server: str, path: str) -> bytes | None:
        """Read something that is no part of the history; None if the server does not answer with it."""
        assert self._session is not None
        try:
            async with (
                asyncio.timeout(ANSWER_SECONDS_MAX),
                self._session.get(server + path) as response,
            ):
                return await response.read() if response.status == 200 else None
        except (TimeoutError, aiohttp.ClientError, OSError):
            return None
