"""The settings of an embedded PostgreSQL: durable, for a small machine that it shares with other programs."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from tallystick.embedded.errors import EmbeddedServerError

SOCKET_PORT = 5432
"""Part of the name of the socket; the server listens on no network."""

_MEBIBYTE = 1024 * 1024
_SHARED_BUFFERS_MEBIBYTES_MIN = 128
_SHARED_BUFFERS_MEBIBYTES_MAX = 1024
_SHARED_BUFFERS_PART_OF_MEMORY = 8
_CONTROL_GROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")

_COMMON: Mapping[str, str] = {
    "listen_addresses": "",
    "port": str(SOCKET_PORT),
    "max_connections": "60",
    "password_encryption": "scram-sha-256",  # nosec B105  # the name of a method
    "timezone": "UTC",
    "log_timezone": "UTC",
    "datestyle": "iso, ymd",
    "lc_messages": "C",
    "lc_monetary": "C",
    "lc_numeric": "C",
    "lc_time": "C",
    "default_text_search_config": "pg_catalog.simple",
    "cluster_name": "tallystick",
    "log_line_prefix": "%m [%p] %q%u@%d ",
    # A log line for each checkpoint is of no use here.
    "log_checkpoints": "off",
    # Statements are short and many, so compiling them costs more than it saves.
    "jit": "off",
    "max_prepared_transactions": "16",
    # On SSDs, random reads cost little more than sequential ones.
    "random_page_cost": "1.1",
}

_DURABLE: Mapping[str, str] = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "wal_buffers": "16MB",
    "min_wal_size": "1GB",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    "checkpoint_completion_target": "0.9",
}

_FOR_TESTS: Mapping[str, str] = {
    # Commits are lost in a power failure, and kept when PostgreSQL is killed: they are written in order to the kernel
    # before they are answered. So tests with kill -9 are meaningful.
    "fsync": "off",
    "synchronous_commit": "on",
    "full_page_writes": "off",
    "shared_buffers": "64MB",
    "min_wal_size": "80MB",
    "max_wal_size": "1GB",
}


def server_settings(*, durable: bool, with_lz4: bool, socket_folder: Path) -> dict[str, str]:
    """Return the settings of a server on this machine."""
    settings = {**_COMMON, "unix_socket_directories": str(socket_folder), "unix_socket_permissions": "0700"}
    if not durable:
        return {**settings, **_FOR_TESTS}
    memory_mebibytes = _memory_bytes() // _MEBIBYTE
    shared_buffers = min(
        max(memory_mebibytes // _SHARED_BUFFERS_PART_OF_MEMORY, _SHARED_BUFFERS_MEBIBYTES_MIN),
        _SHARED_BUFFERS_MEBIBYTES_MAX,
    )
    settings.update(_DURABLE)
    settings["shared_buffers"] = f"{shared_buffers}MB"
    settings["effective_cache_size"] = f"{max(memory_mebibytes // 2, shared_buffers)}MB"
    # PostgreSQL's own compression costs more processor time than it saves in writing.
    settings["wal_compression"] = "lz4" if with_lz4 else "off"
    return settings


def configuration_file(settings: Mapping[str, str]) -> str:
    """Return the text of `postgresql.conf` for these settings."""
    lines = [
        "# Written by Tallystick at each start: changes made here are lost.",
        "# Put settings of your own into local.conf beside this file.",
    ]
    for name, value in sorted(settings.items()):
        if not re.fullmatch(r"[a-z_][a-z0-9_.]*", name) or not value.isprintable():
            raise EmbeddedServerError(
                f"the PostgreSQL setting {name!r} = {value!r} cannot be written: correct it"
            )
        quoted = value.replace("\\", "\\\\").replace("'", "''")
        lines.append(f"{name} = '{quoted}'")
    lines.append("include_if_exists 'local.conf'")
    return "\n".join(lines) + "\n"


def _memory_bytes() -> int:
    """The memory that this process may use: that of the machine, or the limit of the control group."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(machine, int(_CONTROL_GROUP_LIMIT.read_text(encoding="ascii")))
    except (OSError, ValueError):
        return machine  # there is no such file, or it says "max"
