"""`make audit`: bandit reads our code, and pip-audit asks whether anything that is locked is known to be vulnerable.

Every finding is an error until it is mended, or excused in its line with a reason: `# nosec B603  # the reason`. What
vulnerabilities are known is asked of a service on the network. Where that cannot be asked, this says so, and does not
fail: what is not known is no finding.
"""

import json
import subprocess  # nosec B404  # only to start programs of ours, without a shell
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).parent
CODE: Final = ("src", "bench", "requirements")
LOCKED: Final = ("dev", "build")
"""What is installed to run is locked in `dev` in the same versions."""

ANSWER_SECONDS_MAX: Final = 15
SECONDS_MAX: Final = 600

_EXCUSED: Final[dict[str, str]] = {}
"""Vulnerabilities that do not touch us, by identifier, each with the reason."""
_WHY_CHARACTERS_MAX: Final = 200

# How pip-audit ends when the service did not answer, or not as it should: its own words, or those of its HTTP client.
_NOT_ANSWERED: Final = (
    "Could not connect to",
    "requests.exceptions.",
    "not redirecting properly",
    "ServiceError",
)


def main(arguments: Sequence[str]) -> str | None:
    """Do both, and return what is wrong, if anything is. Options are pip-audit's; the rest is what bandit reads."""
    options = [one for one in arguments if one.startswith("--")]
    return _code([one for one in arguments if one not in options] or CODE) or _locked(options)


def _code(folders: Sequence[str]) -> str | None:
    read = _run("bandit", "--quiet", "--recursive", *folders)
    if read.returncode != 0:
        # Its warnings are left out: of an excuse for one line of several it says that there is nothing to excuse.
        return f"{read.stdout}bandit: mend what it found, or excuse it in its line, with a reason"
    _say(f"bandit: nothing found in {' and '.join(folders)}")
    return None


def _locked(options: Sequence[str]) -> str | None:
    files = [f"--requirement={FOLDER / name}.txt" for name in LOCKED]
    # With --disable-pip nothing is resolved or installed: all that there is stands in the files, with hashes.
    reading = ["--disable-pip", "--format=json", "--progress-spinner=off"]
    ignored = [f"--ignore-vuln={one}" for one in _EXCUSED]
    try:
        asked = _run("pip_audit", *reading, *ignored, f"--timeout={ANSWER_SECONDS_MAX}", *files, *options)
        found: list[dict[str, Any]] = json.loads(asked.stdout)["dependencies"]
    except subprocess.TimeoutExpired:
        found, why = [], f"no answer within {SECONDS_MAX} s"
    except ValueError:
        found, why = [], next(iter(asked.stderr.strip().splitlines()[-1:]), "it said nothing")
        if not any(words in asked.stderr for words in _NOT_ANSWERED):
            return f"{asked.stderr}pip-audit: it failed"
    skipped = [one["name"] for one in found if "skip_reason" in one]
    if len(skipped) == len(found):
        # Perhaps something answers in its place that knows no package at all: a mirror, for instance.
        why = "it knows none of the packages" if found else why
        _say(f"pip-audit: SKIPPED, for its service cannot be asked from here ({why[:_WHY_CHARACTERS_MAX]})")
        return None
    return _judged(found, skipped, asked.stderr)


def _judged(found: list[dict[str, Any]], skipped: list[str], said: str) -> str | None:
    wrong = [f"{name}: not known to the service" for name in skipped]
    wrong += [
        f"{one['name']} {one['version']}: {known['id']}, mended in {', '.join(known['fix_versions']) or 'none yet'}"
        for one in found
        for known in one.get("vulns", ())
    ]
    wrong += [line for line in said.splitlines() if line.startswith("WARNING")]
    if wrong:
        return "\n".join([*wrong, "pip-audit: lock other versions, or say in requirements/audit.py why not"])
    _say(f"pip-audit: nothing known against {len(found)} packages")
    return None


def _run(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # nosec B603  # Python itself, without a shell
        [sys.executable, "-m", module, *arguments],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=SECONDS_MAX,
    )


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
