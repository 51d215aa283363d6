"""Addresses of caches: one server, a master that Sentinels watch over, or a cluster, each with TLS or without.

    valkey://user:password@host:6379/0
    unix:///path
    valkey+sentinel://user:password@sentinel1:26379,sentinel2:26379/NAME_OF_MASTER/0?sentinel_password=...
    valkey+cluster://user:password@host1:6379,host2:6379

`redis` may stand for `valkey`, and `valkeys` or `rediss` mean TLS. No message repeats a password, nor does `repr`.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal
from urllib.parse import parse_qsl, unquote

from tallystick.domain.hosts import split_host

Kind = Literal["server", "sentinel", "cluster"]

_EXPECTED: Final = (
    'cache is to be like "valkey://host:6379/0", valkeys:// or rediss:// with TLS, unix:///path, '
    '"valkey+sentinel://sentinel1:26379,sentinel2:26379/NAME_OF_MASTER" or "valkey+cluster://host1:6379,host2:6379"'
)
_PLAIN_SCHEMES: Final = ("valkey", "redis")
_TLS_SCHEMES: Final = ("valkeys", "rediss")
_KINDS: Final[Mapping[str, Kind]] = {"": "server", "sentinel": "sentinel", "cluster": "cluster"}
_PORT: Final = 6379
_SENTINEL_PORT: Final = 26379
_YES: Final = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}


@dataclass(frozen=True, kw_only=True)
class Tls:
    """The certificates of both sides, as PEM files. Without a file of CAs, those of the system are used."""

    ca_path: str | None = None
    certificate_path: str | None = None
    key_path: str | None = None
    check_certificate: bool = True
    check_host: bool = True


@dataclass(frozen=True, kw_only=True)
class CacheAddress:
    """The address of a cache, with its credentials. `socket_path` is for one server without `hosts`.

    `hosts` are the server, the Sentinels, or some nodes of the cluster; `master` is the name that Sentinels know.
    """

    kind: Kind
    hosts: tuple[tuple[str, int], ...] = ()
    socket_path: str | None = None
    database: int = 0
    master: str = ""
    tls: Tls | None = None
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    sentinel_user: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)


def read_cache_address(text: str) -> CacheAddress:
    """Read an address from the configuration.

    Raises:
        ValueError: this is not an address of a cache. The message says what is expected, and contains no password.
    """
    scheme, separator, rest = text.partition("://")
    name, _, way = scheme.partition("+")
    is_socket = scheme == "unix"
    if not separator or (not is_socket and (name not in _PLAIN_SCHEMES + _TLS_SCHEMES or way not in _KINDS)):
        raise ValueError(_EXPECTED)
    if "#" in rest:
        raise ValueError(
            "cache has a # in it: in a user or a password write % codes for it and for / ? @ % [ ]"
        )
    # The standard library cannot read this: in newer versions a URL has one host in brackets at most.
    rest, _, query = rest.partition("?")
    authority, slash, path = rest.partition("/")
    options = _options(query, is_socket=is_socket, way=way, with_tls=name in _TLS_SCHEMES)
    login, _, places = authority.rpartition("@")
    if "[" in login or "]" in login:
        raise ValueError("cache has a bracket in a user or a password: write % codes for [ and ]")
    user, _, password = login.partition(":")
    user, password = (
        unquote(user) or options.get("username", ""),
        unquote(password) or options.get("password", ""),
    )
    if is_socket:
        if not path.strip("/") or places:
            raise ValueError("cache has no path of a socket: write unix:///path")
        database = _database(options.get("db", "0"))
        return CacheAddress(
            kind="server",
            socket_path=unquote(slash + path),
            database=database,
            user=user or None,
            password=password or None,
        )
    kind = _KINDS[way]
    hosts = _hosts(places, kind)
    master, database = _path(path, kind, options)
    return CacheAddress(
        kind=kind,
        hosts=hosts,
        master=master,
        database=database,
        tls=_tls(options) if name in _TLS_SCHEMES else None,
        sentinel_user=options.get("sentinel_username"),
        sentinel_password=options.get("sentinel_password"),
        user=user or None,
        password=password or None,
    )


def _options(query: str, *, is_socket: bool, way: str, with_tls: bool) -> dict[str, str]:
    """The options after the question mark, with the names that the driver uses."""
    known = {"username", "password"}
    if way != "cluster":
        known |= {"db"}
    if way == "sentinel":
        known |= {"sentinel_username", "sentinel_password"}
    if with_tls and not is_socket:
        known |= {"ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname"}
    options = dict(parse_qsl(query, keep_blank_values=True))
    if set(options) - known:
        # The message does not repeat it: it may be a part of a password that contains a question mark.
        raise ValueError(f"cache has an option that is not known here: expected {', '.join(sorted(known))}")
    return options


def _hosts(places: str, kind: Kind) -> tuple[tuple[str, int], ...]:
    port = _SENTINEL_PORT if kind == "sentinel" else _PORT
    found = []
    for place in places.split(","):
        try:
            host, given = split_host(place)
        except ValueError:
            raise ValueError(
                "cache has no host, or no port that can be read: "
                "in a user or a password write % codes for / ? # @ % [ ]"
            ) from None
        found.append((host, given or port))
    if kind == "server" and len(found) > 1:
        raise ValueError("cache has several hosts: write valkey+sentinel:// or valkey+cluster://")
    return tuple(found)


def _path(path: str, kind: Kind, options: Mapping[str, str]) -> tuple[str, int]:
    """The name of the master and the number of the database."""
    pieces = [unquote(piece) for piece in path.split("/") if piece]
    master = pieces.pop(0) if kind == "sentinel" and pieces else ""
    if kind == "sentinel" and not master:
        raise ValueError("cache names no master: write valkey+sentinel://host:26379/NAME_OF_MASTER")
    if len(pieces) > 1:
        raise ValueError("cache has a path with too many parts: the number of a database is the last one")
    database = _database(pieces[0] if pieces else options.get("db", "0"))
    if kind == "cluster" and database:
        raise ValueError("cache names a database of a cluster: it has only 0")
    return master, database


def _database(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError("cache has no number of a database at its end: write it like valkey://host:6379/0")
    return int(text)


def _tls(options: Mapping[str, str]) -> Tls:
    checks = options.get("ssl_cert_reqs", "required")
    if checks not in {"required", "none"}:
        raise ValueError("cache: ssl_cert_reqs is required or none")
    check_host = _YES.get(options.get("ssl_check_hostname", "yes").lower())
    if check_host is None:
        raise ValueError("cache: ssl_check_hostname is yes or no")
    if ("ssl_certfile" in options) != ("ssl_keyfile" in options):
        raise ValueError("cache: ssl_certfile and ssl_keyfile go together")
    for name in ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile"):
        if name in options and not _can_be_read(options[name]):
            raise ValueError(f"cache: the file of {name} cannot be read")
    return Tls(
        ca_path=options.get("ssl_ca_certs"),
        certificate_path=options.get("ssl_certfile"),
        key_path=options.get("ssl_keyfile"),
        check_certificate=checks == "required",
        check_host=check_host and checks == "required",
    )


def _can_be_read(path: str) -> bool:
    return Path(path).is_file() and os.access(path, os.R_OK)
