"""Ports of this machine that are ours until this process ends: nobody else is given one between two starts."""

import atexit
import socket
from contextlib import ExitStack, suppress

HOST = "127.0.0.1"

_held = ExitStack()
atexit.register(_held.close)


def own_port() -> int:
    """A port at which nobody listens but whom we start there."""
    return int(_held.enter_context(_held_port()).getsockname()[1])


def own_ports(count: int) -> range:
    """The same for so many ports, one after the other."""
    while True:
        with ExitStack() as held, suppress(OSError):
            first: int = held.enter_context(_held_port()).getsockname()[1]
            for number in range(1, count):
                held.enter_context(_held_port(first + number))
            _held.push(held.pop_all())
            return range(first, first + count)


def _held_port(number: int = 0) -> socket.socket:
    holder = socket.socket()
    # Whoever asks for this very port may have it, as long as nobody listens.
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        holder.bind((HOST, number))
    except OSError:
        holder.close()
        raise
    return holder
