"""The file of a cluster's folder that says how it is planned, and its passwords. Both are made once and stay."""

import secrets
from pathlib import Path
from typing import Final

import msgspec

from tallystick.cluster.errors import ClusterError
from tallystick.cluster.plan import Plan, plan_of
from tallystick.files import write_private

_FILE: Final = "cluster.json"
_PASSWORD_BYTES: Final = 24


class Passwords(msgspec.Struct, frozen=True, kw_only=True):
    """The passwords of a cluster: of PostgreSQL's roles, of Patroni's interface, and of Valkey."""

    superuser: str
    replication: str
    rewind: str
    owner: str
    login: str
    patroni: str
    cache: str

    def __repr__(self) -> str:
        """Nothing of them."""
        return "Passwords()"


class _Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    network: str
    shard_count: int
    passwords: Passwords


def make_record(folder: Path, network: str | None, default_network: str) -> tuple[Plan, Passwords]:
    """The plan and the passwords of a folder. The first call makes them.

    Raises:
        ClusterError: the folder has a cluster with other addresses, or its file cannot be read or written.
    """
    path = folder / _FILE
    if not path.exists():
        plan = plan_of(folder, network=network or default_network)
        passwords = Passwords(
            **{name: secrets.token_urlsafe(_PASSWORD_BYTES) for name in Passwords.__struct_fields__}
        )
        try:
            record = _Record(plan.network, len(plan.databases), passwords)
            write_private(path, msgspec.json.encode(record).decode("utf-8"))
        except OSError as error:
            raise ClusterError(f"cannot write {path} ({error.strerror}): choose another --data") from None
        return plan, passwords
    plan, passwords = read_record(folder)
    if network not in {None, plan.network}:
        raise ClusterError(
            f"the cluster in {folder} has addresses that begin with {plan.network}: leave --network out, "
            f"or choose another --data"
        )
    return plan, passwords


def read_record(folder: Path) -> tuple[Plan, Passwords]:
    """The plan and the passwords of a cluster that was made.

    Raises:
        ClusterError: there is none, or this user may not read them.
    """
    path = folder / _FILE
    try:
        record = msgspec.json.decode(path.read_bytes(), type=_Record)
    except FileNotFoundError:
        raise ClusterError(
            f"there is no cluster in {folder}: start one with tallystick cluster up, or name its folder with --data"
        ) from None
    except OSError as error:
        raise ClusterError(
            f"cannot read {path} ({error.strerror}): run as the user who started the cluster"
        ) from None
    except msgspec.DecodeError as error:
        raise ClusterError(f"{path} is not the file of a cluster ({error}): bring it back") from None
    return plan_of(folder, network=record.network, shard_count=record.shard_count), record.passwords
