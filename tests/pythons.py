"""`make test-pythons`: runs `make test` with each Python that is at hand, or with each that is named.

Each has an environment of its own in `.pythons`. It needs nothing but Python.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

OLDEST = (3, 11)
ENVIRONMENTS = Path(".pythons")
NAME = re.compile(r"python3(\.[0-9]+)?")
# Where systems and the usual tools put interpreters, beside those on the path.
PLACES = (
    Path("/usr/bin"),
    Path("/usr/local/bin"),
    *Path.home().glob(".pyenv/versions/*/bin"),
    *Path.home().glob(".local/share/uv/python/*/bin"),
)
# Finished versions of CPython with its usual ABI: for others, what we depend on is not built.
ABOUT = """
import json, os, platform, sys
final = platform.python_implementation() == "CPython" and sys.version_info.releaselevel == "final"
print(json.dumps([final and not sys.abiflags, sys.version_info[:3], os.path.realpath(sys.executable)]))
"""
ASKING_SECONDS_MAX = 30

Version = tuple[int, ...]


def main(named: list[str]) -> int:
    """Test with each; return how many failed."""
    pythons = dict(map(_named, named)) if named else dict(sorted(_found()))
    if not pythons:
        sys.exit("no Python from 3.11 on was found: name some with PYTHONS=")
    for version, path in pythons.items():
        _say(f"found {_text(version)}: {path}")
    failed = [version for version, path in pythons.items() if not _passes(version, path)]
    for version in pythons:
        _say(f"{_text(version)}: {'FAILED' if version in failed else 'passed'}")
    return len(failed)


def _passes(version: Version, path: str) -> bool:
    _say(f"testing with {_text(version)} ...")
    environment = ENVIRONMENTS / _text(version)
    command = [os.environ.get("MAKE", "make"), "test", f"PYTHON={path}", f"VENV={environment}"]
    return subprocess.run(command, check=False).returncode == 0


def _named(python: str) -> tuple[Version, str]:
    about = _about(python)
    if about is None:
        sys.exit(f"{python} is no Python from 3.11 on")
    return about


def _found() -> Iterator[tuple[Version, str]]:
    for folder in [*map(Path, os.get_exec_path()), *PLACES]:
        for path in folder.glob("python3*"):
            about = _about(str(path)) if NAME.fullmatch(path.name) else None
            if about is not None:
                yield about


def _about(python: str) -> tuple[Version, str] | None:
    """Its version, and where it is itself; None when it is no Python that we run on."""
    try:
        asked = subprocess.run(
            [python, "-I", "-c", ABOUT], capture_output=True, check=True, timeout=ASKING_SECONDS_MAX
        )
        usual, version, path = json.loads(asked.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return (tuple(version), path) if usual and tuple(version) >= OLDEST else None


def _text(version: Version) -> str:
    return ".".join(map(str, version))


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]) != 0)
