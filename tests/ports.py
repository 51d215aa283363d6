"""Ports of this machine that are ours until this process ends: nobody else is given one between two starts."""

import atexit
import socket
from contextlib import ExitStack

HOST = "127.0.0.1"

_held = ExitStack()
atexit.register(_held.close)


def own_port() -> int:
    """A port at which nobody listens but whom we start there."""
    return int(_held.enter_context(_held_port()).getsockname()[1])


def _held_port() -> socket.socket:
    holder = socket.socket()
    # Whoever asks for this very port may have it, as long as nobody listens.
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        holder.bind((HOST, 0))
    except OSError:
        holder.close()
        raise
    return holder
