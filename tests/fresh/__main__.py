"""`make fresh`: begins anew on a bare system, as root, as an ordinary user, and as a user who began with sudo.

It takes root, `debootstrap` and `unshare`, and a minute and a half for each time that it begins. All that it makes is
below one folder, and gone at the end but for the bare system itself, which `--folder` keeps for the next run.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.fresh.bare_system import BareSystem

PROGRAMS = ("debootstrap", "unshare", "git")
TIMES_MAX = 100
WAYS = {
    "root": ["root", "root"],
    "user": ["user", "root", "user"],
    "sudo first": ["root in the user's folder", "user"],
}


def main() -> int:
    """Walk each way so many times; return how many walks failed."""
    parser = argparse.ArgumentParser(prog="make fresh", description=__doc__)
    parser.add_argument("--times", type=int, default=3, choices=range(1, TIMES_MAX + 1), metavar="N")
    parser.add_argument("--way", choices=WAYS, action="append", help="Which ways to begin. Default: each.")
    parser.add_argument("--folder", type=Path, help="Where the bare system is, or is to be kept.")
    arguments = parser.parse_args()
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if os.geteuid() != 0 or missing:
        sys.exit(
            f"a bare system takes root and {' and '.join(PROGRAMS)}: missing {' and '.join(missing) or 'root'}"
        )
    # A signal that ends this program ends what runs in the bare system, too.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="tallystick-fresh-", dir="/var/tmp"))
    try:
        return _walk_all(BareSystem(folder.absolute()), arguments.way or list(WAYS), arguments.times)
    finally:
        if arguments.folder is None:
            shutil.rmtree(folder)


def _walk_all(system: BareSystem, ways: list[str], times: int) -> int:
    system.make()
    failed = 0
    for number in range(1, times + 1):
        for way in ways:
            began_at = time.monotonic()
            wrong = _walk(system, WAYS[way])
            failed += bool(wrong)
            _say(f"{way} {number} of {times}: {wrong or 'all right'} ({time.monotonic() - began_at:.0f} s)")
    _say(f"{times * len(ways) - failed} passed, {failed} failed")
    return failed


def _walk(system: BareSystem, starts: list[str]) -> str:
    """Walk once; return what was wrong, or nothing."""
    with tempfile.TemporaryDirectory(dir=system.folder, prefix="walk-") as changes:
        try:
            system.run(Path(changes), ["python3", "-I", "/walk.py", *starts])
        except subprocess.CalledProcessError as error:
            return f"FAILED with status {error.returncode}: {error.stdout}"
        except subprocess.TimeoutExpired as error:
            return f"FAILED: it took longer than {error.timeout:.0f} s"
    return ""


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main() != 0)
