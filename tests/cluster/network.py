"""A network namespace for this process, so that the network of the machine stays as it is."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_CLONE_NEWNET: Final = 0x40000000
_libc: Final = ctypes.CDLL(None, use_errno=True)


@contextmanager
def own_network() -> Iterator[None]:
    """Let this thread, and all threads and processes that it starts, have a network of their own. Takes root."""
    before = os.open("/proc/self/ns/net", os.O_RDONLY)
    try:
        _expect(_libc.unshare(_CLONE_NEWNET))
        try:
            yield
        finally:
            _expect(_libc.setns(before, _CLONE_NEWNET))
    finally:
        os.close(before)


def _expect(status: int) -> None:
    if status != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
