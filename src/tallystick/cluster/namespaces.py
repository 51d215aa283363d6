"""Machines as network namespaces of Linux, so that the network between them can be cut. Takes root.

A bridge connects them in the namespace of this process. To keep the network of the machine as it is, start `up` in a
network namespace of its own.
"""

import shutil
import subprocess  # nosec B404  # only to start programs of the system, without a shell
from collections.abc import Iterable
from typing import Final

from tallystick.cluster.errors import ClusterError
from tallystick.cluster.plan import Machine, Plan
from tallystick.embedded.server_account import ServerAccount
from tallystick.files import reason_of

_BRIDGE: Final = "tallystick"
_NOWHERE: Final = "02:00:00:00:00:fe"
"""An Ethernet address that no machine has: what is sent there is lost, and the sender is not told."""
_TIMEOUT_SECONDS: Final = 10.0


def make_namespaces(plan: Plan) -> None:
    """Make the namespaces of all machines, and a bridge between them. What an earlier run left is removed.

    Raises:
        ClusterError: this process may not, or the programs `ip` and `nsenter` are missing.
    """
    for program in ("ip", "nsenter"):
        if shutil.which(program) is None:
            raise ClusterError(
                f"addresses outside of 127.0.0.0/8 need the program {program}: install iproute2"
            )
    remove_namespaces(plan)
    _ip("link", "set", "lo", "up")
    _ip("link", "add", _BRIDGE, "type", "bridge")
    _ip("address", "add", f"{plan.network}.1/24", "dev", _BRIDGE)
    _ip("link", "set", _BRIDGE, "up")
    for machine in plan.machines:
        name, outside = machine.name, _outside(machine)
        _ip("netns", "add", _namespace(machine))
        _ip("link", "add", outside, "type", "veth", "peer", "name", "eth0", "netns", _namespace(machine))
        _ip("link", "set", outside, "master", _BRIDGE, "up")
        _inside(machine, "link", "set", "lo", "up")
        _inside(machine, "address", "add", f"{machine.address}/24", "dev", "eth0")
        _inside(machine, "link", "set", "eth0", "up", "alias", name)


def remove_namespaces(plan: Plan) -> None:
    """Remove them. Harmless if there are none."""
    existing = _ip("netns", "list").split()
    for machine in plan.machines:
        if _namespace(machine) in existing:
            _ip("netns", "delete", _namespace(machine))
    if _BRIDGE in _ip("-brief", "link", "show", "type", "bridge").split():
        _ip("link", "delete", _BRIDGE)


def entering(machine: Machine, account: ServerAccount) -> list[str]:
    """What stands before a command so that it runs in the namespace of a machine, as a user."""
    own = [f"--setgid={account.group_id}", f"--setuid={account.user_id}"] if account.switches else []
    return ["nsenter", f"--net={namespace_path(machine)}", *own, "--"]


def namespace_path(machine: Machine) -> str:
    """The file by which the namespace of a machine can be entered."""
    return f"/run/netns/{_namespace(machine)}"


def cut(plan: Plan, sender: Machine, receivers: Iterable[Machine]) -> None:
    """Lose everything that a machine sends to others. What they send to it still arrives.

    Raises:
        ClusterError: the machines of this cluster are loopback addresses.
    """
    if plan.is_loopback:
        raise ClusterError(
            "machines with loopback addresses have no network between them: begin a cluster in another folder with "
            "--network 10.77.0"
        )
    for receiver in receivers:
        _inside(
            sender,
            "neighbour",
            "replace",
            receiver.address,
            "lladdr",
            _NOWHERE,
            "nud",
            "permanent",
            "dev",
            "eth0",
        )


def mend(plan: Plan) -> None:
    """Let everything that any machine sends arrive again."""
    for machine in () if plan.is_loopback else plan.machines:
        for line in _inside(machine, "neighbour", "show", "nud", "permanent", "dev", "eth0").splitlines():
            _inside(machine, "neighbour", "delete", line.split()[0], "dev", "eth0")


def _namespace(machine: Machine) -> str:
    return f"tallystick-{machine.name}"


def _outside(machine: Machine) -> str:
    """The name of the bridge's end of a machine's cable, of which Linux allows 15 characters."""
    return f"tk-{machine.name}"


def _inside(machine: Machine, *arguments: str) -> str:
    return _ip("-netns", _namespace(machine), *arguments)


def _ip(*arguments: str) -> str:
    try:
        done = subprocess.run(  # nosec B603 B607  # noqa: S603 - the program is the system's own and there is no shell
            ["ip", *arguments],  # noqa: S607 - it was looked for
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=_TIMEOUT_SECONDS,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ClusterError(f"the network of the machines cannot be changed ({reason_of(error)})") from None
    if done.returncode != 0:
        said = " ".join(done.stderr.split())
        raise ClusterError(
            f"the network of the machines cannot be changed ({said}): run as root, or use loopback addresses"
        )
    return done.stdout
