"""Checks of a PostgreSQL server by what it says about itself. Each is a pure function of that."""

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from tallystick.domain import limits
from tallystick.service.doctor.findings import Judgement, fine, warning, wrong
from tallystick.store.examination import Examination

ServerCheck: TypeAlias = Callable[[Examination], Judgement]

_OFF: Final = "off"
_UNLIMITED: Final = -1
_TIME_LIMITS: Final = ("idle_session_timeout", "lock_timeout", "transaction_timeout")


def version(server: Examination) -> Judgement:
    """The version of PostgreSQL. One that is too old was refused before."""
    return fine(f"PostgreSQL {server.version}")


def fsync(server: Examination) -> Judgement:
    """Whether commits reach the disk."""
    return _must_be_on(
        server, "fsync", "a power failure damages the log and loses payments that were answered"
    )


def full_page_writes(server: Examination) -> Judgement:
    """Whether a page that was half written is repaired after a power failure."""
    return _must_be_on(server, "full_page_writes", "a power failure may leave pages half written")


def synchronous_commit(server: Examination) -> Judgement:
    """Whether a commit is answered only when it is safe. Servers ask for it themselves, other commands do not."""
    setting = server.settings["synchronous_commit"]
    if setting == _OFF:
        return wrong(
            "synchronous_commit is off by default: servers turn it on for payments, but tenants and API keys that "
            f"commands have made may be lost: {_alter('synchronous_commit', 'on')}"
        )
    if setting not in {"on", "remote_apply"} and server.settings["synchronous_standby_names"]:
        return warning(
            f"synchronous_commit is {setting} by default: what commands write does not wait for the disk of a "
            f"standby: {_alter('synchronous_commit', 'on')}"
        )
    return fine(setting)


def synchronous_standby(server: Examination) -> Judgement:
    """Whether a payment is on two machines before it is answered."""
    if not (names := server.settings["synchronous_standby_names"]):
        return warning(
            "no standby is synchronous: a payment that was answered is on one machine only, and is lost with it: "
            "set synchronous_standby_names when there is a standby"
        )
    return fine(names)


def data_checksums(server: Examination) -> Judgement:
    """Whether PostgreSQL notices that a disk returned other bytes than were written."""
    if server.settings["data_checksums"] == _OFF:
        return warning(
            "data checksums are off: damage by a disk is noticed by `tallystick verify` only: stop PostgreSQL and "
            "run pg_checksums --enable"
        )
    return fine("on")


def damaged_pages(server: Examination) -> Judgement:
    """Whether PostgreSQL hides damage."""
    for name in ("zero_damaged_pages", "ignore_checksum_failure"):
        if server.settings[name] != _OFF:
            return wrong(f"{name} is on, which hides damaged data: {_alter(name, _OFF)}")
    return fine("not hidden")


def autovacuum(server: Examination) -> Judgement:
    """Whether PostgreSQL maintains its tables."""
    return _must_be_on(
        server,
        "autovacuum",
        "statistics grow old, and after 2,000 million transactions PostgreSQL stops writing",
    )


def write_ahead_log(server: Examination) -> Judgement:
    """Whether there can be standbys and backups to a point in time."""
    if (level := server.settings["wal_level"]) == "minimal":
        return warning(
            "wal_level is minimal: there can be no standby and no backup to a point in time: "
            "ALTER SYSTEM SET wal_level = 'replica', and restart PostgreSQL"
        )
    return fine(level)


def time_limits(server: Examination) -> Judgement:
    """Whether PostgreSQL ends sessions or statements of servers, which have time limits of their own."""
    for name in _TIME_LIMITS:
        limit_ms = int(server.settings.get(name, 0))
        if 0 < limit_ms < limits.STATEMENT_TIMEOUT_MS or (limit_ms and name == "idle_session_timeout"):
            return warning(
                f"{name} is {limit_ms} ms: it ends sessions or statements of servers, which then connect again and "
                f"refuse requests meanwhile: {_alter(name, '0')}"
            )
    return fine("none")


SERVER_CHECKS: Final[Sequence[ServerCheck]] = (
    version,
    fsync,
    full_page_writes,
    synchronous_commit,
    synchronous_standby,
    data_checksums,
    damaged_pages,
    autovacuum,
    write_ahead_log,
    time_limits,
)


def connections(servers: Sequence[Examination], for_each: int, processes: int) -> Judgement:
    """Whether servers may open the connections that they need.

    `servers`: the examinations of all shards on one PostgreSQL server. `for_each`: what one process may open to a
    shard. `processes`: how many there are.
    """
    first = servers[0]
    needed_by_shard = for_each * processes
    needed = needed_by_shard * len(servers)
    reserved = sum(
        int(first.settings.get(name, 0))
        for name in ("superuser_reserved_connections", "reserved_connections")
    )
    allowed = {"max_connections, less what is reserved,": int(first.settings["max_connections"]) - reserved}
    for server in servers:
        if server.role_connections_max != _UNLIMITED:
            allowed["CONNECTION LIMIT of the role"] = server.role_connections_max
        if server.database_connections_max != _UNLIMITED:
            allowed["CONNECTION LIMIT of a database"] = server.database_connections_max * len(servers)
    name, least = min(allowed.items(), key=lambda one: one[1])
    sum_text = f"{processes} x {len(servers)} x {for_each} = {needed}"
    if needed > least:
        return wrong(
            f"servers open up to {needed} connections (processes x shards x connections: {sum_text}), and {name} "
            f"allows {least}: raise it, or run fewer processes"
        )
    return fine(f"up to {needed} of {least}")


def _must_be_on(server: Examination, name: str, otherwise: str) -> Judgement:
    if server.settings[name] != "on":
        return wrong(f"{name} is off: {otherwise}: {_alter(name, 'on')}")
    return fine("on")


def _alter(name: str, value: str) -> str:
    return f"run, as an administrator: ALTER SYSTEM SET {name} = '{value}'; SELECT pg_reload_conf();"
