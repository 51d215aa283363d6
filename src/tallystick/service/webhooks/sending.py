"""Sending one message: signed, to an address that was checked, with little patience and little memory."""

import time
from datetime import UTC, datetime
from typing import NamedTuple

import aiohttp
import msgspec

from tallystick.domain import limits
from tallystick.domain.webhooks import WebhookEndpoint, signatures
from tallystick.service.webhooks.addresses import AddressRefusedError, AddressRules

_SUCCESSES = range(200, 300)
_REDIRECTS = range(300, 400)


class Message(NamedTuple):
    """What is sent: an identifier that is always the same for an event and an endpoint, and JSON."""

    id: str
    body: bytes


class Attempt(msgspec.Struct, frozen=True):
    """What came of sending a message once: `error` is None when the receiver has taken it."""

    status: int | None
    error: str | None
    seconds: float


class Sender:
    """Sends messages, each over a connection that is kept for the next one where the receiver agrees."""

    def __init__(self, rules: AddressRules) -> None:
        self._rules = rules
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def send(self, endpoint: WebhookEndpoint, message: Message) -> Attempt:
        """Send a message once. Whatever goes wrong is told in words that hold no secret and no query of the url."""
        started = time.monotonic()
        status = None
        error = None
        try:
            status = await self._post(endpoint, message)
            if status in _REDIRECTS:
                error = f"answered {status}: redirects are not followed"
            elif status not in _SUCCESSES:
                error = f"answered {status}"
        except TimeoutError:
            error = f"did not answer within {limits.WEBHOOK_SEND_SECONDS_MAX:.0f} seconds"
        except (aiohttp.ClientError, OSError, ValueError) as failure:
            error = _words(failure)[: limits.WEBHOOK_ERROR_CHARACTERS_MAX]
        return Attempt(status, error, round(time.monotonic() - started, 6))

    async def _post(self, endpoint: WebhookEndpoint, message: Message) -> int:
        if endpoint.url.startswith("http://") and not self._rules.allow_http:
            raise AddressRefusedError("http is not allowed: expected https")
        timestamp = int(time.time())
        headers = {
            "content-type": "application/json",
            "webhook-id": message.id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signatures(
                endpoint.secrets(datetime.now(UTC)), message.id, timestamp, message.body
            ),
        }
        async with self._open().post(
            endpoint.url, data=message.body, headers=headers, allow_redirects=False
        ) as answer:
            # Read, so that the connection can be used again; one that says more than that is closed.
            await answer.content.read(limits.WEBHOOK_ANSWER_BYTES_MAX)
            if not answer.content.at_eof():
                answer.close()
            return answer.status

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                # Every endpoint sends one message at a time, so there are no more connections than endpoints.
                connector=aiohttp.TCPConnector(limit=0, socket_factory=self._rules.open_socket),
                timeout=aiohttp.ClientTimeout(
                    total=limits.WEBHOOK_SEND_SECONDS_MAX,
                    sock_connect=limits.WEBHOOK_CONNECT_SECONDS_MAX,
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"user-agent": "tallystick-webhooks/1"},
                auto_decompress=False,
                trust_env=False,
            )
        return self._session


def _words(failure: Exception) -> str:
    refused: BaseException | None = failure
    while refused is not None:
        if isinstance(refused, AddressRefusedError):
            return f"not sent: {refused}"
        refused = refused.__cause__ or refused.__context__
    if isinstance(failure, aiohttp.ClientConnectorDNSError):
        return "the name does not resolve"
    if isinstance(failure, aiohttp.ClientConnectorCertificateError | aiohttp.ClientSSLError):
        return "the certificate or TLS is not right"
    if isinstance(failure, aiohttp.ClientConnectorError):
        return f"cannot connect: {failure.os_error.strerror or 'refused'}"
    return f"the connection broke ({type(failure).__name__})"
