"""What is forked does what a process does that a user starts."""

import os
import signal
import subprocess
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from tallystick.embedded.postgres import EmbeddedPostgres
from tests.acceptance.processes import free_port, gone, run, run_anew
from tests.acceptance.test_cli import NOBODY, configure
from tests.forked import Forked, fork_server_pid, run_forked
from tests.lives import lives
from tests.waiting import wait_for
from tests.whole import some_of

COMMANDS = (
    ("migrate",),
    ("keys", "list"),
    ("keys", "list", "--json"),
    ("keys", "revoke", "key_1"),
    ("accounts", "show", NOBODY),
    ("accounts", "total", "@fees"),
    ("transfer", NOBODY, NOBODY, "1", "USD", "--json"),
    ("sagas",),
    ("webhooks", "list"),
    ("verify",),
    ("verify", "--json"),
    ("doctor", "--json"),
    ("serve", "--port", "0"),
    ("serve", "--help"),
    ("nonsense",),
    (),
)


@pytest.fixture(scope="module")
def folder(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the configuration of a shard of its own."""
    folder = tmp_path_factory.mktemp("forked")
    configure(postgres, folder, "forked_and_started")
    assert run_anew("migrate", folder=folder).returncode == 0
    return folder


@pytest.mark.parametrize("arguments", some_of("forked commands", COMMANDS, 6), ids=" ".join)
def test_it_says_what_a_started_one_says(folder: Path, arguments: tuple[str, ...]) -> None:
    forked, started = run(*arguments, folder=folder), run_anew(*arguments, folder=folder)
    assert (forked.returncode, forked.stderr) == (started.returncode, started.stderr)
    if arguments[:1] not in {("verify",), ("doctor",)}:  # they say how long something took
        assert forked.stdout == started.stdout
    assert (forked.stdout == "") == (started.stdout == "")


def forked(folder: Path, log: Path, *arguments: str, env: dict[str, str] | None = None) -> Forked:
    with Path(os.devnull).open("rb") as nothing, log.open("wb") as said:
        return Forked(
            arguments,
            stdin=nothing,
            stdout=said,
            stderr=said,
            folder=folder,
            env=env,
            start_new_session=True,
        )


def serves(port: str) -> bool:
    """Whether it answers: before that, a signal ends it at once."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=10) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def test_it_has_streams_a_folder_an_environment_and_a_session_of_its_own(
    folder: Path, tmp_path: Path
) -> None:
    log, port = tmp_path / "log", str(free_port())
    own = {**os.environ, "TMPDIR": str(tmp_path), "OWN": "its own"}
    server = forked(folder, log, "serve", "--port", port, "--metrics-port", str(free_port()), env=own)
    try:
        wait_for(lambda: serves(port), "it serves")
        process = psutil.Process(server.pid)
        assert process.ppid() == fork_server_pid()
        assert Path(process.cwd()) == folder
        assert os.getsid(server.pid) == server.pid
        assert not Path(os.devnull).samefile(f"/proc/{server.pid}/fd/1")
        assert [Path(f"/proc/{server.pid}/fd/{number}").resolve() for number in (1, 2)] == [log, log]
        # A process that it starts has its environment, and what is temporary is where that says.
        (metrics,) = (child for child in process.children() if "metrics_server" in " ".join(child.cmdline()))
        assert metrics.environ()["OWN"] == "its own"
        assert list(tmp_path.glob("tallystick-figures-*"))
    finally:
        server.terminate()
    assert server.wait(60) == 0
    assert not list(tmp_path.glob("tallystick-figures-*"))


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 0), (signal.SIGTERM, 0), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_signals_reach_it_and_its_end_is_told(
    folder: Path, tmp_path: Path, number: signal.Signals, status: int
) -> None:
    port = str(free_port())
    server = forked(folder, tmp_path / "log", "serve", "--port", port)
    wait_for(lambda: serves(port), "it serves")
    workers = psutil.Process(server.pid).children(recursive=True)
    assert server.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        server.wait(0.05)
    server.send_signal(number)
    wait_for(lambda: not lives(server.pid), "it has ended")
    # As with every child, its number is not given to another process before its end was heard.
    assert psutil.Process(server.pid).status() == psutil.STATUS_ZOMBIE
    assert server.wait(60) == server.poll() == status
    wait_for(lambda: not psutil.pid_exists(server.pid), "it was waited for")
    assert gone([worker.pid for worker in workers])


def test_a_command_that_does_not_end_is_killed(folder: Path) -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        run_forked(["serve", "--port", str(free_port())], folder=folder, timeout=0.5)


def test_what_is_asked_for_at_once_is_done_by_several(folder: Path) -> None:
    with ThreadPoolExecutor(4) as threads:
        done = list(threads.map(lambda _: run("keys", "list", folder=folder), range(8)))
    assert {one.returncode for one in done} == {0}


def test_the_fork_server_ends_with_the_tests() -> None:
    program = "from tests.forked import run_forked, fork_server_pid\n"
    program += "import os, signal\nrun_forked(['--help'], timeout=60)\n"
    program += "print(fork_server_pid(), flush=True)\nos.kill(os.getpid(), signal.SIGKILL)\n"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert gone([int(done.stdout)])
