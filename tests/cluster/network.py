"""A network namespace for this process, so that the network of the machine stays as it is."""

import ctypes
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tallystick.cluster.namespaces import namespace_path
from tallystick.cluster.plan import Machine

NETWORKS: Final = Path("/run/netns")
CONNECT_SECONDS_MAX: Final = 1
_ENTERED: Final = "TALLYSTICK_OWN_NAMESPACES"
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


def expect_unreachable(sender: Machine, receivers: Iterable[Machine]) -> None:
    """No machine among the receivers can be reached from a machine, which is a network namespace."""
    asking = {
        receiver.name: subprocess.Popen(
            [
                *["nsenter", f"--net={namespace_path(sender)}", "--"],
                *["timeout", f"{CONNECT_SECONDS_MAX}", "bash", "-c"],
                f"exec 3<>/dev/tcp/{receiver.address}/{receiver.ports[0]}",
            ],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for receiver in receivers
    }
    reached = [name for name, process in asking.items() if process.wait() == 0]
    assert not reached, f"{sender.name} reached {', '.join(reached)}"


def enter_own_namespaces() -> None:
    """Begin this process anew in a network and a file system of its own, unless it is there already. Takes root.

    What it mounts and which networks it makes is seen by nothing else, and is gone when its last process has ended.
    """
    if os.environ.pop(_ENTERED, None) is None:
        os.environ[_ENTERED] = "1"
        command = ["unshare", "--net", "--mount", "--propagation", "private", *sys.orig_argv]
        os.execvp(command[0], command)
    NETWORKS.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(NETWORKS)], check=True)
