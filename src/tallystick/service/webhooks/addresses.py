"""Where messages may be sent: which urls, and which addresses behind their names."""

import ipaddress
import re
import socket
from collections.abc import Iterator
from typing import Final, NamedTuple, TypeAlias
from urllib.parse import SplitResult, urlsplit

from tallystick.domain import limits
from tallystick.service.errors import ParameterError
from tallystick.service.webhooks.names import NameResolver

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

# IPv6 addresses that a gateway turns into IPv4 ones: whatever stands in their last 32 bits is where they lead.
_TRANSLATED: Final = ipaddress.IPv6Network("64:ff9b::/96")
# All unicast addresses that were ever given out, https://www.iana.org/assignments/ipv6-address-space.
_PUBLIC_IPV6: Final = (ipaddress.IPv6Network("2000::/3"), _TRANSLATED)
# https://www.iana.org/assignments/iana-ipv4-special-registry
_PROTOCOL_ASSIGNMENTS: Final = ipaddress.IPv4Network("192.0.0.0/24")
_PORT_MAX: Final = 65_535


class AddressRefusedError(OSError):
    """The name leads to an address inside a network that is not public."""


class AddressRules(NamedTuple):
    """What the configuration allows beyond https to public addresses."""

    allow_http: bool = False
    allow_private: bool = False

    def check(self, host: str) -> None:
        """Refuse an address that is not public: private, loopback, link-local, multicast, reserved.

        Raises:
            AddressRefusedError: it is one of these.
        """
        if self.allow_private:
            return
        address = ipaddress.ip_address(host.partition("%")[0])
        if not all(_is_public(one) for one in _meant(address)):
            # Which one is not said: tenants need not learn how names inside are resolved.
            raise AddressRefusedError("not a public address")

    def open_socket(self, address: "AddressInfo") -> socket.socket:
        """A socket for an address that a name was resolved to, and which it will be connected to."""
        family, kind, protocol, _, place = address
        self.check(str(place[0]))
        opened = socket.socket(family, kind, protocol)
        # However much a receiver says, little of it is taken in at a time.
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, limits.WEBHOOK_ANSWER_BYTES_MAX)
        return opened


AddressInfo: TypeAlias = tuple[
    int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[object, ...]
]


def _is_public(address: Address) -> bool:
    """Whether an address is one of the public Internet. Newer versions of Python know more that are not."""
    if isinstance(address, ipaddress.IPv6Address) and not any(address in one for one in _PUBLIC_IPV6):
        return False
    return address.is_global and not address.is_multicast and address not in _PROTOCOL_ASSIGNMENTS


def _meant(address: Address) -> Iterator[Address]:
    """An address, and those that it is another way to write."""
    yield address
    if isinstance(address, ipaddress.IPv6Address):
        inside = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
        if address in _TRANSLATED:
            inside.append(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF))
        yield from (one for one in inside if one is not None)


async def check_url(url: str, rules: AddressRules, names: NameResolver, param: str = "url") -> str:
    """Make sure that messages may be sent to a url, as far as can be known now; they are checked again when sent.

    Raises:
        ParameterError: it is not allowed, or its name does not resolve; the message says what would be right.
    """
    parts = _parts(url, rules, param)
    host = parts.hostname or ""
    try:
        places = [host] if _is_address(host) else [one["host"] for one in await names.resolve(host)]
    except OSError:
        raise ParameterError(
            param, f"the name {host!r} does not resolve: expected one that is in the DNS"
        ) from None
    try:
        for place in places:
            rules.check(place)
    except AddressRefusedError as error:
        raise ParameterError(
            param,
            f"{host!r} is not allowed ({error}): expected a public address, or set webhooks_allow_private",
        ) from None
    return url


def _is_number(label: str) -> bool:
    """Whether the end of a host makes it an address (https://url.spec.whatwg.org/#ends-in-a-number-checker)."""
    return label.isdigit() or re.fullmatch(r"0[xX][0-9a-fA-F]*", label) is not None


def _is_address(host: str) -> bool:
    """Whether a host is an address, written as everybody writes it: all else is a name, and is looked up."""
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def _parts(url: str, rules: AddressRules, param: str) -> SplitResult:
    if not 0 < len(url) <= limits.WEBHOOK_URL_CHARACTERS_MAX:
        raise ParameterError(param, f"expected 1 to {limits.WEBHOOK_URL_CHARACTERS_MAX} characters")
    if not (url.isascii() and url.isprintable()) or " " in url or "\\" in url:
        raise ParameterError(param, "expected a url in ASCII, without spaces: escape what is not")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ParameterError(param, f"expected a url: {error}") from None
    allowed = ("https", "http") if rules.allow_http else ("https",)
    if parts.scheme not in allowed:
        raise ParameterError(
            param, f"expected a url that begins with {' or '.join(f'{one}://' for one in allowed)}"
        )
    if "@" in parts.netloc:
        raise ParameterError(
            param, "expected no user and no password in the url: messages are signed, so check the signature"
        )
    if not parts.hostname:
        raise ParameterError(param, "expected a url with a host")
    if _is_number(parts.hostname.rstrip(".").rpartition(".")[2]) and not _is_address(parts.hostname):
        raise ParameterError(param, "expected an address in full, like 192.0.2.1 or [2001:db8::1], or a name")
    if parts.fragment:
        raise ParameterError(param, "expected no fragment (#…): it is never sent")
    if port is not None and not 0 < port <= _PORT_MAX:
        raise ParameterError(param, f"expected a port from 1 to {_PORT_MAX}")
    return parts
