"""Named scripts that run inside the cache: each is one file beside this one, and atomic."""

import hashlib
from functools import cache
from importlib import resources


@cache
def script(name: str) -> str:
    """The text of `<name>.lua`."""
    return resources.files(__name__).joinpath(f"{name}.lua").read_text(encoding="utf-8")


@cache
def digest(name: str) -> str:
    """The name of a script in the cache: its SHA-1, which need not be secret."""
    return hashlib.sha1(script(name).encode(), usedforsecurity=False).hexdigest()
