"""Where one request ends and the next begins: what a proxy in front may read otherwise is refused (RFC 9112, 11.2).

Each attack carries a second request, to a path that nothing stands at. When it is answered, it was smuggled.
"""

from typing import Final

import pytest

from tests.api.client import Client, new_key
from tests.attack.wire import Target, ask, get, request

HIDDEN = get(b"/hidden")
EMPTY_CHUNKS = b"0\r\n\r\n"
AMBIGUOUS: Final[list[tuple[list[bytes], bytes]]] = [
    ([b"Content-Length: 5", b"Transfer-Encoding: chunked"], EMPTY_CHUNKS),
    ([b"Transfer-Encoding: chunked", b"Content-Length: 5"], EMPTY_CHUNKS),
    ([b"Content-Length: 0", b"Content-Length: 39"], b""),
    ([b"Content-Length: 0, 0"], b""),
    ([b"Content-Length: 0, 39"], b""),
    ([b"Content-Length: +0"], b""),
    ([b"Content-Length: -1"], b""),
    ([b"Content-Length: 0x0"], b""),
    ([b"Content-Length: 1_0"], b""),
    ([b"Content-Length: "], b""),
    ([b"Content-Length: 18446744073709551616"], b""),
    ([b"Content-Length : 0"], b""),
    ([b"Content-Length:\r\n 0"], b""),
    ([b" Content-Length: 0"], b""),
    ([b"Transfer-Encoding : chunked"], EMPTY_CHUNKS),
    ([b"Transfer-Encoding:\r\n chunked"], EMPTY_CHUNKS),
    ([b"Transfer-Encoding: \x0bchunked"], EMPTY_CHUNKS),
    ([b"Transfer-Encoding: xchunked"], EMPTY_CHUNKS),
    ([b'Transfer-Encoding: "chunked"'], EMPTY_CHUNKS),
    ([b"Transfer-Encoding: identity"], b""),
    ([b"Transfer-Encoding: chunked, identity"], EMPTY_CHUNKS),
    ([b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"], EMPTY_CHUNKS),
    ([b"X: y\rContent-Length: 39"], b""),
    ([b"X: y\0z", b"Content-Length: 0"], b""),
]
"""Headers that say where a body ends, and the body: what may end in two places."""
UPGRADES: Final = [
    (
        b"Connection: Upgrade, HTTP2-Settings",
        b"Upgrade: h2c",
        b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
    ),
    (
        b"Connection: Upgrade",
        b"Upgrade: websocket",
        b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Key: YQ==",
    ),
]


def sent_with(caller: Client, *framing: bytes, body: bytes = b"", version: bytes = b"1.1") -> bytes:
    """A request that is right but for its framing, and the hidden one."""
    key = f"Authorization: Bearer {caller.api_key}".encode()
    headers = (key, b"Content-Type: application/json", f"Idempotency-Key: {new_key()}".encode(), *framing)
    return request(b"POST", b"/v1/transfers", *headers, body=body + HIDDEN, version=version)


@pytest.mark.parametrize(("framing", "body"), AMBIGUOUS)
def test_what_may_end_in_two_places_is_refused(
    server: Target, client: Client, framing: list[bytes], body: bytes
) -> None:
    answer = ask(server, sent_with(client, *framing, body=body))
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 ") == 1


def test_chunks_over_http_1_0_are_refused(server: Target, client: Client) -> None:
    """A proxy that speaks 1.0 does not know them (RFC 9112, 6.1)."""
    framing = (b"Connection: keep-alive", b"Transfer-Encoding: chunked")
    answer = ask(server, sent_with(client, *framing, body=EMPTY_CHUNKS, version=b"1.0"))
    assert b" 400 " in answer.splitlines()[0]
    assert b"path_not_found" not in answer


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"POST", b"DELETE"])
@pytest.mark.parametrize("target", [b"/healthz", b"/nothing", b"/v1/assets"])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_nothing_reads_is_no_request(
    server: Target, method: bytes, target: bytes, chunked: bool
) -> None:
    """It is passed over, or the connection ends there: what is in it is not carried out."""
    hidden = request(b"GET", b"/docs", b"Connection: close")
    if chunked:
        sent = request(
            method, target, b"Transfer-Encoding: chunked", body=b"%x\r\n%b\r\n" % (len(hidden), hidden)
        )
        sent += EMPTY_CHUNKS
    else:
        sent = request(method, target, b"Content-Length: %d" % len(hidden), body=hidden)
    assert b"text/html" not in ask(server, sent + get(b"/healthz"))


def test_a_trailer_changes_nothing(server: Target, client: Client, stranger: Client) -> None:
    """Headers that come after a body are no headers (RFC 9110, 6.5.1)."""
    trailer = b"0\r\nAuthorization: Bearer " + str(client.api_key).encode() + b"\r\n\r\n"
    sent = request(b"POST", b"/v1/assets", b"Transfer-Encoding: chunked", b"Connection: close", body=trailer)
    assert ask(server, sent).startswith(b"HTTP/1.1 401 ")
    assert stranger.get("/v1/assets").ok()


@pytest.mark.parametrize("swapped", [False, True])
def test_two_keys_are_none(server: Target, client: Client, stranger: Client, swapped: bool) -> None:
    """Whose request it is, a proxy and the server may read differently."""
    keys = [f"Authorization: Bearer {one.api_key}".encode() for one in (client, stranger)]
    answer = ask(server, get(b"/v1/assets", *(reversed(keys) if swapped else keys)))
    assert answer.startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize("upgrade", UPGRADES)
def test_no_other_protocol_begins(server: Target, upgrade: tuple[bytes, ...]) -> None:
    """A proxy that sees 101 lets everything through (h2c smuggling)."""
    answer = ask(server, request(b"GET", b"/v1/assets", *upgrade, body=get(b"/healthz")))
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"HTTP/1.1 101" not in answer


@pytest.mark.parametrize("method", [b"CONNECT", b"TRACE"])
def test_methods_for_proxies_are_unknown(server: Target, method: bytes) -> None:
    answer = ask(server, request(method, b"/", b"Secret: of another", b"Connection: close"))
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 404 ", b"HTTP/1.1 405 "))
    assert b"of another" not in answer
