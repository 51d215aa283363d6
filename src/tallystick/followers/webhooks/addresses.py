"""The URLs that messages may be sent to, and the addresses behind their names."""

import ipaddress
import re
import socket
from typing import TYPE_CHECKING, NamedTuple, TypeAlias
from urllib.parse import urlsplit

from tallystick.domain import limits
from tallystick.domain.hosts import split_host
from tallystick.followers.errors import AddressRefusedError, UrlRefusedError
from tallystick.followers.webhooks.public_addresses import is_public

if TYPE_CHECKING:
    from tallystick.followers.webhooks.names import NameResolver


class AddressRules(NamedTuple):
    """The rules for addresses. The configuration may allow more than https to public addresses."""

    allow_http: bool = False
    allow_private: bool = False

    def check(self, host: str) -> None:
        """Refuse an address that is not public: private, loopback, link-local, multicast, reserved.

        Raises:
            AddressRefusedError: it is one of these.
        """
        if not self.allow_private and not is_public(host):
            # The message does not name the address: tenants must not learn how internal names are resolved.
            raise AddressRefusedError("not a public address")

    def open_socket(self, address: "AddressInfo") -> socket.socket:
        """A socket for connecting to an address that a name was resolved to."""
        family, kind, protocol, _, place = address
        self.check(str(place[0]))
        opened = socket.socket(family, kind, protocol)
        # A small buffer, so that little of a long answer is received at a time.
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, limits.WEBHOOK_ANSWER_BYTES_MAX)
        return opened


AddressInfo: TypeAlias = tuple[
    int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[object, ...]
]


async def check_url(url: str, rules: AddressRules, names: "NameResolver") -> str:
    """Check that messages may be sent to a URL, as far as is known now. It is checked again for each message.

    Raises:
        UrlRefusedError: it is not allowed, or its name does not resolve. The message says what is expected.
    """
    host = _host(url, rules)
    try:
        places = [host] if _is_address(host) else [one["host"] for one in await names.resolve(host)]
    except OSError:
        raise UrlRefusedError(
            f"the name {host!r} does not resolve: expected one that is in the DNS"
        ) from None
    try:
        for place in places:
            rules.check(place)
    except AddressRefusedError as error:
        raise UrlRefusedError(
            f"{host!r} is not allowed ({error}): expected a public address, or set webhooks_allow_private",
        ) from None
    return url


def _is_number(label: str) -> bool:
    """Whether the last label makes a host an address (https://url.spec.whatwg.org/#ends-in-a-number-checker)."""
    return label.isdigit() or re.fullmatch(r"0[xX][0-9a-fA-F]*", label) is not None


def _is_address(host: str) -> bool:
    """Whether a host is an address in its usual form. Everything else is a name, and is looked up."""
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def _host(url: str, rules: AddressRules) -> str:
    if not 0 < len(url) <= limits.WEBHOOK_URL_CHARACTERS_MAX:
        raise UrlRefusedError(f"expected 1 to {limits.WEBHOOK_URL_CHARACTERS_MAX} characters")
    if not (url.isascii() and url.isprintable()) or " " in url or "\\" in url:
        raise UrlRefusedError("expected a url in ASCII, without spaces: escape what is not")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise UrlRefusedError("expected a url with an IPv6 address in its brackets, if it has any") from None
    allowed = ("https", "http") if rules.allow_http else ("https",)
    if parts.scheme not in allowed:
        raise UrlRefusedError(
            f"expected a url that begins with {' or '.join(f'{one}://' for one in allowed)}"
        )
    if "@" in parts.netloc:
        raise UrlRefusedError(
            "expected no user and no password in the url: messages are signed, so check the signature"
        )
    if parts.fragment:
        raise UrlRefusedError("expected no fragment (#…): it is never sent")
    try:
        host, _ = split_host(parts.netloc)
    except ValueError as error:
        raise UrlRefusedError(f"of the url: {error}") from None
    if _is_number(host.rstrip(".").rpartition(".")[2]) and not _is_address(host):
        raise UrlRefusedError("expected an address in full, like 192.0.2.1 or [2001:db8::1], or a name")
    return host
