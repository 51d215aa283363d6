"""What a run that was killed leaves among the temporary files is removed by the next one, and nothing else is."""

import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tallystick.embedded.postgres import EmbeddedPostgres
from tallystick.embedded.temporary_folders import claim
from tallystick.embedded.valkey import EmbeddedValkey
from tallystick_bench.target import temporary_target

RUN = """
import sys, tempfile, time
from pathlib import Path
from tallystick_bench.target import temporary_target
from tallystick.embedded.valkey import EmbeddedValkey
tempfile.tempdir = sys.argv[1]
if sys.argv[2] == "bench":
    with temporary_target():
        print("ready", flush=True)
        time.sleep(3600)
else:
    server = EmbeddedValkey(Path(sys.argv[2]))
    server.start()
    print(server.pid, flush=True)
    time.sleep(3600)
"""


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for temporary ones, whose name is short enough for sockets."""
    folder = Path(tempfile.mkdtemp(prefix="killed-"))
    # As a server's own user, where we are root, can pass through.
    folder.chmod(0o711)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    shutil.rmtree(folder)


def killed(temporary: Path, what: str) -> str:
    """Have another process begin something, and kill it then; what it said."""
    with subprocess.Popen(
        [sys.executable, "-P", "-c", RUN, str(temporary), what],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        said = process.stdout.readline().strip()
        process.send_signal(signal.SIGKILL)
    assert said
    return said


def made(temporary: Path) -> set[Path]:
    return set(temporary.glob("tallystick-*"))


def start_and_stop(folder: Path) -> None:
    server = EmbeddedValkey(folder)
    server.start()
    server.stop()


def test_a_socket_folder_whose_data_folder_is_gone_is_removed(temporary: Path) -> None:
    data = temporary / "data"
    orphan = psutil.Process(int(killed(temporary, str(data))))
    try:
        (left,) = made(temporary)
        # The server that was left behind still works there.
        start_and_stop(temporary / "another")
        assert made(temporary) == {left}
    finally:
        orphan.kill()
        psutil.wait_procs([orphan])
    shutil.rmtree(data)
    start_and_stop(temporary / "a third")
    assert made(temporary) == set()


def test_what_others_made_or_still_use_stays(temporary: Path) -> None:
    strange = temporary / "tallystick-12345678"
    strange.mkdir(mode=0o700)
    (strange / "something").touch()
    ours = temporary / "tallystick-87654321"
    ours.mkdir(mode=0o700)
    claim(ours)
    # A program that can write there could have put in anything.
    open_to_all = temporary / "tallystick-abcdefgh"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    (open_to_all / "owner").write_text("2000000000 1.0")
    start_and_stop(temporary / "data")
    assert made(temporary) == {strange, ours, open_to_all}


def test_what_a_measurement_that_was_killed_has_left_is_removed(temporary: Path) -> None:
    killed(temporary, "bench")
    left = made(temporary)
    try:
        assert len(left) == 2, "its folder, and that of the socket"
        with temporary_target():
            assert not left & made(temporary)
        assert made(temporary) == set()
    finally:
        # It leads a group of its own, so nothing else ends its server when this fails.
        for folder in temporary.glob("tallystick-bench-*"):
            server = EmbeddedPostgres(folder)
            server.kill()
            server.remove()
