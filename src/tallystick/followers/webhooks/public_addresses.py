"""The addresses of the public Internet, the same for every version of Python.

They are from IANA's registries, with a few more addresses that cloud providers use internally:

- https://www.iana.org/assignments/iana-ipv4-special-registry
- https://www.iana.org/assignments/iana-ipv6-special-registry
- https://www.iana.org/assignments/ipv6-address-space
"""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

_NOT_PUBLIC_IPV4: Final = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # this network
            "10.0.0.0/8",  # private use
            "100.64.0.0/10",  # shared between a carrier and its customers
            "127.0.0.0/8",  # loopback
            "168.63.129.16/32",  # the platform of a cloud provider
            "169.254.0.0/16",  # link-local, and metadata services of clouds
            "172.16.0.0/12",  # private use
            "192.0.0.0/24",  # protocol assignments
            "192.0.2.0/24",  # documentation
            "192.88.99.0/24",  # relays of 6to4, no longer in use
            "192.168.0.0/16",  # private use
            "198.18.0.0/15",  # benchmarks
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, and broadcast
        ),
    )
)

# All unicast addresses that were ever assigned, without private, link-local, multicast and reserved ones.
_PUBLIC_IPV6: Final = IPv6Network("2000::/3")
_NOT_PUBLIC_IPV6: Final = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # protocol assignments, with Teredo, benchmarks, and identifiers that are no addresses
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4: leads to the IPv4 address in it
            "3fff::/20",  # documentation
        ),
    )
)

# Networks whose last 32 bits a gateway, or this machine itself, uses as an IPv4 address.
_CARRYING_IPV4: Final = (IPv6Network("::ffff:0:0/96"), IPv6Network("64:ff9b::/96"))
_IPV4_MASK: Final = 0xFFFF_FFFF


def is_public(text: str) -> bool:
    """Whether an address is one of the public Internet.

    Raises:
        ValueError: the text is no address.
    """
    address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv6Address):
        if not _is_in(address, _CARRYING_IPV4):
            return address in _PUBLIC_IPV6 and not _is_in(address, _NOT_PUBLIC_IPV6)
        address = IPv4Address(int(address) & _IPV4_MASK)
    return not _is_in(address, _NOT_PUBLIC_IPV4)


def _is_in(address: IPv4Address | IPv6Address, networks: Iterable[IPv4Network | IPv6Network]) -> bool:
    return any(address in network for network in networks)
