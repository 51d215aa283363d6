"""Makes an environment and installs what is locked into it, with a line that says how far it is.

Run as `install.py runtime`, `install.py cluster`, `install.py bench` or `install.py development` in the folder of the
project; it needs nothing but Python.
`VENV` is the folder of the environment, `.venv` if it is not set. An environment that was moved, or whose making was
interrupted, is made anew.
"""

import fcntl
import os
import pwd
import re
import shutil
import subprocess  # nosec B404  # only to start programs of ours, without a shell
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

REQUIREMENTS = {
    "runtime": ["runtime", "build"],
    "cluster": ["cluster", "build"],
    "bench": ["bench", "build"],
    "development": ["dev", "build"],
}
PROJECTS = {"runtime": ["."], "cluster": ["."], "bench": [".", "bench"], "development": [".", "bench"]}
"""The folders of what is ours. What measures is a project of its own."""
STAMPS = {
    "runtime": [".runtime"],
    "cluster": [".runtime", ".cluster"],
    "bench": [".runtime", ".bench"],
    "development": [".runtime", ".cluster", ".bench", ".development"],
}
PURPOSES = {
    "runtime": "to run",
    "cluster": "to run as a cluster",
    "bench": "to be measured",
    "development": "to run and to be tested",
}

REQUIREMENTS_FOLDER = Path(__file__).parent
ENVIRONMENT = Path(os.environ.get("VENV", ".venv"))
PLACE = ENVIRONMENT / ".place"
"""The path at which it was made, which an environment holds in many files."""
UNFINISHED = ENVIRONMENT / ".unfinished"
"""There while packages are put into it: what an interrupted pip leaves, the next one takes for whole."""
PYTHON = ENVIRONMENT / "bin" / "python"

INSTALLING = "Installing collected packages"
"""What pip says when it has fetched everything."""

LINE_INTERVAL_SECONDS = 0.25
"""Of a terminal's line, which is written over."""
LOG_INTERVAL_SECONDS = 10.0
"""Of lines that stay, where there is no terminal."""


def main(what: str) -> None:
    """Install, unless it is done; end the process with what to do when it cannot be done."""
    os.umask(os.umask(0o022) | 0o022)  # what is run as us is ours alone to change
    _check_folders()
    locked = os.open(REQUIREMENTS_FOLDER, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(locked, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        _say("Waiting for another make, which is installing ...")
        fcntl.flock(locked, fcntl.LOCK_EX)
    if _is_whole() and _is_new(what):
        return  # by the one for whom we have waited
    if not _is_whole():
        _make_environment()
    _install(what)
    for stamp in STAMPS[what]:
        (ENVIRONMENT / stamp).touch()
    UNFINISHED.unlink(missing_ok=True)


def _sources(what: str) -> list[Path]:
    return [REQUIREMENTS_FOLDER / f"{name}.txt" for name in REQUIREMENTS[what]]


def _check_folders() -> None:
    if not os.access(".", os.W_OK | os.X_OK):
        sys.exit(f"This folder cannot be written to: copy it to where {_user_name(os.geteuid())} may write")
    if ENVIRONMENT.is_dir() and not os.access(ENVIRONMENT, os.W_OK | os.X_OK):
        owner = _user_name(ENVIRONMENT.stat().st_uid)
        sys.exit(f"{ENVIRONMENT} belongs to {owner}, who made it: remove it with: sudo rm -rf {ENVIRONMENT}")


def _user_name(user_id: int) -> str:
    try:
        return pwd.getpwuid(user_id).pw_name
    except KeyError:
        return f"user {user_id}"


def _is_whole() -> bool:
    with suppress(OSError):
        return PLACE.read_text(encoding="utf-8").strip() == str(Path.cwd()) and not UNFINISHED.exists()
    return False


def _is_new(what: str) -> bool:
    with suppress(FileNotFoundError):
        oldest = min((ENVIRONMENT / stamp).stat().st_mtime for stamp in STAMPS[what])
        projects = [Path(folder) / "pyproject.toml" for folder in PROJECTS[what]]
        return all(path.stat().st_mtime <= oldest for path in [*_sources(what), *projects])
    return False


def _make_environment() -> None:
    _say(f"Preparing {ENVIRONMENT} ...")
    shutil.rmtree(ENVIRONMENT, ignore_errors=True)
    made = subprocess.run(  # nosec B603  # Python itself, without a shell
        [sys.executable, "-m", "venv", str(ENVIRONMENT)], capture_output=True, text=True, check=False
    )
    if made.returncode != 0:
        shutil.rmtree(ENVIRONMENT, ignore_errors=True)
        said = (made.stdout + made.stderr).strip()
        sys.exit(
            f"{said}\nNo virtual environment could be made: install the venv module of {sys.executable} "
            "(on Debian and Ubuntu: apt install python3-venv)"
        )
    PLACE.write_text(f"{Path.cwd()}\n", encoding="utf-8")


def _install(what: str) -> None:
    sources = _sources(what)
    progress = _Progress(f"Installing what it needs {PURPOSES[what]}", _names(sources))
    with progress:
        _pip(progress, "--require-hashes", *(f"--requirement={path}" for path in sources))
        projects = [f"--editable={folder}" for folder in PROJECTS[what]]
        _pip(progress, "--no-deps", "--no-build-isolation", *projects)
        # Compiled by whom it belongs to: root, who may be the first to run it, leaves that to others.
        subprocess.run([PYTHON, "-m", "compileall", "-q", "src", *PROJECTS[what][1:]], check=False)  # nosec B603  # Python itself, without a shell


def _begin_to_change() -> None:
    UNFINISHED.touch()
    for stamp in STAMPS["development"]:
        (ENVIRONMENT / stamp).unlink(missing_ok=True)


def _names(sources: list[Path]) -> set[str]:
    """What is to be installed, whatever system each is for."""
    return set(
        re.findall(r"^([A-Za-z0-9._-]+)==", "\n".join(path.read_text() for path in sources), re.MULTILINE)
    )


def _pip(progress: "_Progress", *arguments: str) -> None:
    command = [
        str(PYTHON),
        "-m",
        "pip",
        "--disable-pip-version-check",
        "--no-input",
        "install",
        "--progress-bar=off",
    ]
    with tempfile.TemporaryFile("w+") as errors:
        with subprocess.Popen(  # nosec B603  # Python itself, without a shell
            [*command, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, "PIP_USER": "0", "PIP_QUIET": "0"},
        ) as pip:
            assert pip.stdout is not None  # nosec B101  # tells the type; the pipe was asked for
            for line in pip.stdout:
                if line.startswith(INSTALLING):
                    _begin_to_change()
                progress.hear(line)
        if pip.returncode != 0:
            progress.end()
            errors.seek(0)
            sys.exit(f"{errors.read()}It could not be installed: correct this, and run make again")


class _Progress:
    """A line that moves on a terminal; elsewhere a line now and then, and none of them for a machine (`CI`)."""

    def __init__(self, title: str, names: set[str]) -> None:
        self._title = title
        self._names = names
        self._began_at = time.monotonic()
        self._step = "looking"
        self._fetched: set[str] = set()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._go_on, daemon=True)

    def hear(self, line: str) -> None:
        """Take a line of pip's."""
        words = line.split()
        if words[:1] == ["Collecting"]:
            name = re.split(r"[=<>!~\[;@ ]", words[1])[0]
            self._fetched.add(name)
            self._step = f"fetching {name}, {len(self._fetched)} of {len(self._names)}"
        elif line.startswith(INSTALLING):
            self._step = "installing"

    def end(self) -> None:
        """Write nothing any more, and leave an empty line."""
        self._ended.set()
        self._thread.join()

    def _go_on(self) -> None:
        terminal = sys.stderr.isatty()
        if not terminal:
            _say(f"{self._title} ...")
        silent = not terminal and bool(os.environ.get("CI"))
        while not self._ended.wait(LINE_INTERVAL_SECONDS if terminal else LOG_INTERVAL_SECONDS):
            if terminal:
                width = shutil.get_terminal_size().columns - 1
                sys.stderr.write(f"\r{self._line()[:width].ljust(width)}")
                sys.stderr.flush()
            elif not silent:
                _say(f"  {self._line()}")
        if terminal:
            sys.stderr.write("\r\x1b[K")

    def _line(self) -> str:
        step = self._step
        if step == "installing":
            there = len(list(ENVIRONMENT.glob("lib/python*/site-packages/*.dist-info")))
            step = f"installing, {min(there, len(self._names))} of {len(self._names)}"
        return f"{self._title}: {step} ({time.monotonic() - self._began_at:.0f} s)"

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, error_type: type[BaseException] | None, *_: object) -> None:
        self.end()
        if error_type is None:
            _say(f"{self._title}: done in {time.monotonic() - self._began_at:.0f} s")


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except KeyboardInterrupt:
        sys.exit("interrupted: make again goes on")
    except OSError as error:
        sys.exit(f"{error}: correct this, and run make again")
