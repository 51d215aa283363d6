"""Limits on connections of this process: clients that do not read are closed, and an address has a limited number.

The HTTP server closes silent clients and incomplete headers (`--idle-seconds`), `endpoint` ends incomplete bodies.
This module limits the number of connections, and closes clients that do not read.
"""

import ipaddress
import os
import socket
import stat
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

import structlog

from tallystick.domain import limits

_DESCRIPTORS: Final = Path("/proc/self/fd")

_log = structlog.get_logger(__name__)


class _Connection(NamedTuple):
    """One connection. Inodes count up, so the newest connection has the highest one."""

    inode: int
    descriptor: int


def guard_connections(port: int, per_address_max: int) -> None:
    """Limit the connections to a port, in a thread that ends with the process.

    Args:
        port: the port of this process. The process must listen already.
        per_address_max: the largest number of connections of one address; 0 is no limit. An IPv6 network of 64 bits
            counts as one address, because one client has all of it.
    """
    if not _DESCRIPTORS.is_dir():
        _log.warning("connections are not counted: this system does not list them", missing=str(_DESCRIPTORS))
        return
    for descriptor in _sockets():
        with _copy(descriptor) as listener:
            if _is_at(listener, port, listening=True):
                # Accepted connections inherit this option: the system closes one whose client does not read for that
                # long.
                listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, limits.UNREAD_ANSWER_MS_MAX)
    if per_address_max:
        threading.Thread(target=_guard, args=(port, per_address_max), name="connections", daemon=True).start()


def _guard(port: int, per_address_max: int) -> None:
    pause = threading.Event()
    while not pause.wait(limits.CONNECTIONS_LOOK_SECONDS):
        # This counts all connections. Below the bound no address can have too many.
        if sum(1 for _ in _DESCRIPTORS.iterdir()) > per_address_max:
            for address, count in close_excess(port, per_address_max).items():
                _log.warning("too many connections: the newest were closed", address=address, closed=count)


def close_excess(port: int, per_address_max: int) -> dict[str, int]:
    """Close the newest connections of each address that has too many. Returns the number closed, by address."""
    by_address: dict[str, list[_Connection]] = defaultdict(list)
    for descriptor in _sockets():
        with suppress(OSError), _copy(descriptor) as connection:
            if _is_at(connection, port, listening=False):
                address = _network(connection.getpeername()[0])
                by_address[address].append(_Connection(_inode(connection), descriptor))
    return {
        address: sum(_close(connection) for connection in sorted(connections)[per_address_max:])
        for address, connections in by_address.items()
        if len(connections) > per_address_max
    }


def _close(excess: _Connection) -> bool:
    """Close a connection, unless it is closed already and its number belongs to another one."""
    with suppress(OSError), _copy(excess.descriptor) as connection:
        if _inode(connection) == excess.inode:
            connection.shutdown(socket.SHUT_RDWR)
            return True
    return False


def _network(address: str) -> str:
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv4Address):
        return address
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, 64), strict=False))


def _sockets() -> Iterator[int]:
    """The descriptors of this process that are sockets."""
    for descriptor in _DESCRIPTORS.iterdir():
        with suppress(OSError):  # it was closed meanwhile
            if stat.S_ISSOCK(os.fstat(int(descriptor.name)).st_mode):
                yield int(descriptor.name)


@contextmanager
def _copy(descriptor: int) -> Iterator[socket.socket]:
    """A duplicate of a socket, because another thread may close the descriptor at any time."""
    with socket.socket(fileno=os.dup(descriptor)) as copy:
        yield copy


def _inode(connection: socket.socket) -> int:
    return os.fstat(connection.fileno()).st_ino


def _is_at(connection: socket.socket, port: int, *, listening: bool) -> bool:
    return (
        connection.family in {socket.AF_INET, socket.AF_INET6}
        and connection.type == socket.SOCK_STREAM
        and connection.getsockname()[1] == port
        and bool(connection.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)) == listening
    )
