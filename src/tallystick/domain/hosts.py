"""Reads a host and its port from an address. Versions of Python differ in what they accept."""

import ipaddress
import re
from typing import Final

PORT_MAX: Final = 65_535

_HOST: Final = re.compile(r"(?:\[([^\[\]\s]+)\]|([^\[\]:@/?#\s]+))(?::([0-9]{0,5}))?", re.ASCII)


def split_host(text: str) -> tuple[str, int | None]:
    """The host and the port (None if missing) of `host:port`, in lower case, an IPv6 address without brackets.

    Raises:
        ValueError: this is not a host, or the port is not from 1 to 65535. The message does not repeat the text.
    """
    found = _HOST.fullmatch(text)
    if found is None:
        raise ValueError("expected a host, and a port behind a colon if it has one")
    address, name, port = found.groups()
    if address:
        try:
            ipaddress.IPv6Address(address)
        except ValueError:
            raise ValueError("expected an IPv6 address in the brackets") from None
    if port and not 0 < int(port) <= PORT_MAX:
        raise ValueError(f"expected a port from 1 to {PORT_MAX}")
    return (address or name).lower(), int(port) if port else None
