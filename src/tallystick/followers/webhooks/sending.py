"""Send one message: signed, to a checked address, with limits on time and memory."""

import asyncio
import ssl
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

import aiohttp

from tallystick.domain import limits
from tallystick.domain.webhooks import Secret, retry_after_seconds, signatures
from tallystick.followers.errors import AddressRefusedError
from tallystick.followers.webhooks.addresses import AddressRules, check_url
from tallystick.followers.webhooks.interim import BoundedConnector, TooManyInterimAnswersError
from tallystick.followers.webhooks.messages import Attempt, Message
from tallystick.followers.webhooks.names import NameResolver

_SUCCESSES: Final = range(200, 300)
_REDIRECTS: Final = range(300, 400)
_GONE: Final = 410
_LATER: Final = (429, 503)

# Errors of OpenSSL about a certificate (https://docs.openssl.org/3.5/man3/X509_STORE_CTX_get_error), in our words.
_UNKNOWN_AUTHORITY: Final = "the certificate is of an authority that is not known here: see webhooks_ca_file"
_CERTIFICATE_WORDS: Final = {
    9: "the certificate is not valid yet",
    10: "the certificate has expired",
    18: _UNKNOWN_AUTHORITY,
    19: _UNKNOWN_AUTHORITY,
    20: _UNKNOWN_AUTHORITY,
    21: _UNKNOWN_AUTHORITY,
    62: "the certificate is for another name",
    64: "the certificate is for another address",
}


class _Response(NamedTuple):
    status: int
    retry_after: str | None


class Sender:
    """Sends messages. A connection is kept for the next message if the receiver agrees."""

    def __init__(
        self,
        rules: AddressRules,
        *,
        trust: ssl.SSLContext | None = None,
        names: NameResolver | None = None,
    ) -> None:
        """`trust` decides which certificates of receivers are accepted."""
        self._rules = rules
        self._trust = trust
        self._names = names or NameResolver()
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None
        await self._names.close()

    async def check_url(self, url: str) -> str:
        """A url that messages may be sent to, as far as can be known now; raises ParameterError."""
        return await check_url(url, self._rules, self._names)

    async def send(self, url: str, message: Message, secrets: Sequence[Secret]) -> Attempt:
        """Send a message once, signed with each of the secrets.

        An error is described in words that contain no secret and no query of the URL.
        """
        started = time.monotonic()
        answer = None
        error = None
        try:
            answer = await self._post(url, message, secrets)
            error = _refusal(answer.status)
        except TimeoutError:
            error = f"did not answer within {limits.WEBHOOK_SEND_SECONDS_MAX:.0f} seconds"
        except (aiohttp.ClientError, OSError, ValueError) as failure:
            error = _words(failure)[: limits.WEBHOOK_ERROR_CHARACTERS_MAX]
        seconds = round(time.monotonic() - started, 6)
        if answer is None:
            return Attempt(None, error, seconds)
        later = None
        if answer.status in _LATER and answer.retry_after is not None:
            later = retry_after_seconds(answer.retry_after, datetime.now(UTC))
        return Attempt(answer.status, error, seconds, answer.status == _GONE, later)

    async def _post(self, url: str, message: Message, secrets: Sequence[Secret]) -> _Response:
        if not url.lower().startswith("https://") and not self._rules.allow_http:
            raise AddressRefusedError("http is not allowed: expected https")
        timestamp = int(time.time())
        headers = {
            "content-type": "application/json",
            "webhook-id": message.id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signatures(secrets, message.id, timestamp, message.body),
        }
        async with self._open().post(
            url, data=message.body, headers=headers, allow_redirects=False
        ) as answer:
            await _read(answer)
            return _Response(answer.status, answer.headers.get("retry-after"))

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                # No limit here: each shard sends an endpoint one message at a time, and the rate of tests is limited.
                connector=BoundedConnector(
                    limit=0,
                    socket_factory=self._rules.open_socket,
                    resolver=self._names,
                    ssl=self._trust or ssl.create_default_context(),
                ),
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


def trust_of(ca_file: Path | None) -> ssl.SSLContext:
    """The trusted authorities: those of this machine, and those of a file.

    Raises:
        OSError: the file cannot be read, or holds no certificate.
    """
    context = ssl.create_default_context()
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    return context


async def _read(answer: aiohttp.ClientResponse) -> None:
    """Read the rest of an answer, so that the connection can be used again. A long or slow answer is cut off.

    The status alone decides whether the message was accepted.
    """
    rest = limits.WEBHOOK_ANSWER_BYTES_MAX
    with suppress(aiohttp.ClientError, OSError):
        async with asyncio.timeout(limits.WEBHOOK_ANSWER_SECONDS_MAX):
            while rest > 0 and (part := await answer.content.read(rest)):
                rest -= len(part)
    if not answer.content.at_eof():
        answer.close()


def _refusal(status: int) -> str | None:
    """Why an answer is not a success, in words."""
    if status in _SUCCESSES:
        return None
    if status in _REDIRECTS:
        return f"answered {status}: redirects are not followed"
    if status == _GONE:
        return f"answered {status}: it is gone, and wants nothing more"
    return f"answered {status}"


def _words(failure: Exception) -> str:
    refused: BaseException | None = failure
    while refused is not None:
        if isinstance(refused, AddressRefusedError | TooManyInterimAnswersError):
            return f"not sent: {refused}" if isinstance(refused, AddressRefusedError) else refused.message
        refused = refused.__cause__ or refused.__context__
    if isinstance(failure, aiohttp.ClientConnectorDNSError):
        return "the name does not resolve"
    if isinstance(failure, aiohttp.ClientConnectorCertificateError):
        code = getattr(failure.certificate_error, "verify_code", None)
        return _CERTIFICATE_WORDS.get(code or 0, f"the certificate is not right (OpenSSL says {code})")
    if isinstance(failure, aiohttp.ClientConnectorSSLError):
        return f"it does not speak TLS as it should ({getattr(failure.os_error, 'reason', None) or 'broken'})"
    if isinstance(failure, aiohttp.ClientConnectorError):
        return f"cannot connect: {failure.os_error.strerror or 'refused'}"
    return f"the connection broke ({type(failure).__name__})"
