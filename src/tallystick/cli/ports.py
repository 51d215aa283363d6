"""Ports: reserved for this installation, and replaced by the next one if taken."""

import errno
import ipaddress
import socket
import time
from typing import Final

from tallystick.cli.errors import CommandError
from tallystick.domain.hosts import PORT_MAX

ATTEMPTS_MAX: Final = 100
POLL_INTERVAL_SECONDS: Final = 0.1
API_PORT_OPTION: Final = "--port"
METRICS_PORT_OPTION: Final = "--metrics-port"
METRICS_PORT_ABOVE: Final = 1_000


class PortTakenError(CommandError):
    """Another program uses the port."""


def reserve_port(host: str, port: int, option: str = API_PORT_OPTION) -> socket.socket:
    """Reserve a port that only our own server can use. Closing the returned socket frees it.

    The server binds with SO_REUSEPORT, so that each of its workers can have a socket of its own. Two servers of one
    user would then share a port unnoticed, and each would get some requests of the other. So the port is first bound
    without that flag, which only one process can do. The flag is set afterwards: then our own server can bind the
    port, and no other process can reserve it.
    """
    holder = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        # Connections that have just ended must not block the port.
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind((host, port))
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    except OSError as error:
        holder.close()
        if error.errno == errno.EADDRINUSE:
            raise PortTakenError(
                f"port {port} is taken: stop the program that uses it, or choose another one with {option}"
            ) from None
        if error.errno == errno.EACCES:
            raise CommandError(f"port {port} is not open to this user: choose one above 1023") from None
        raise CommandError(
            f"cannot listen on {host} port {port} ({error.strerror}): choose another"
        ) from None
    return holder


def reserve_next_free_port(
    host: str, first_port: int, option: str = API_PORT_OPTION, *, wait_seconds: float
) -> tuple[socket.socket, int]:
    """Reserve a port, or if it is still taken after the wait, the next free one."""
    deadline = time.monotonic() + wait_seconds
    last_port = min(first_port + ATTEMPTS_MAX - 1, PORT_MAX)
    port = first_port
    while port <= last_port:
        try:
            return reserve_port(host, port, option), port
        except PortTakenError:
            if port == first_port and time.monotonic() < deadline:
                time.sleep(POLL_INTERVAL_SECONDS)
            else:
                port += 1
    raise CommandError(f"ports {first_port} to {last_port} are all taken: choose another one with {option}")


def address_of(host: str) -> str:
    """The IP address to listen on, because the server accepts no host names."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise CommandError(f"the host {host!r} is unknown ({error.strerror}): name an address") from None
    return str(found[0][4][0])
