"""Addresses of callers, and the networks that a key is valid for."""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Networks = tuple[Network, ...]


def read_networks(texts: Iterable[str]) -> Networks:
    """Networks in CIDR notation; a single address is a network of one. Raises ValueError with what is wrong."""
    return tuple(ip_network(text) for text in texts)


def read_address(text: str | None) -> Address | None:
    """An address, also with a port behind it; None if it is none. An IPv4 address inside of IPv6 is that address."""
    if text is None:
        return None
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ip_address(text)
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found


def is_within(address: Address | None, networks: Sequence[Network]) -> bool:
    """Whether an address belongs to one of these networks."""
    return address is not None and any(address in network for network in networks)


def are_within(inner: Sequence[Network], outer: Sequence[Network]) -> bool:
    """Whether each of some networks is a part of another one."""
    return all(
        any(
            one.version == its.version and one.subnet_of(its)  # type: ignore[arg-type]  # of one version
            for its in outer
        )
        for one in inner
    )


def client_address(peer: str | None, forwarded_for: str | None, proxies: Sequence[Network]) -> Address | None:
    """The address of a client: the peer's, or, if this is a trusted proxy, the one that the proxy says.

    `forwarded_for` is the header `X-Forwarded-For`, to which each proxy appends its own peer. So it is read from the
    right, up to the first address that is not a trusted proxy: what stands before it, a client may have invented.
    """
    address = read_address(peer)
    said = forwarded_for.split(",") if forwarded_for else []
    while said and is_within(address, proxies):
        address = read_address(said.pop())
    return address
