"""Where servers of tests keep their data, and that a run which was killed leaves none in memory."""

import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest
from tests import data_folders
from tests.crash.databases import temporary_server
from tests.data_folders import data_folder

STARTER = """
import sys, time
from tests.crash.databases import temporary_server
with temporary_server() as server:
    print(server.pid, server.log_path, flush=True)
    time.sleep(3600)
"""


def test_durable_data_are_on_the_disk() -> None:
    with data_folder(durable=True) as folder:
        assert folder.is_dir()
        assert folder.parent == Path(tempfile.gettempdir())
    assert not folder.exists()


def test_without_room_in_memory_all_data_are_on_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_folders, "_MEMORY_BYTES_MIN", 2**60)
    monkeypatch.setattr(data_folders, "_quick_parent", data_folders._quick_parent.__wrapped__)
    with data_folder(durable=False) as folder:
        assert folder.parent == Path(tempfile.gettempdir())


@pytest.mark.slow
def test_what_a_killed_run_has_left_is_removed_with_its_server(monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STARTER], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        number, _, log_path = process.stdout.readline().strip().partition(" ")
        process.send_signal(signal.SIGKILL)
    left = Path(log_path).parents[1]
    orphan = psutil.Process(int(number))
    assert left.is_dir()
    data_folders._remove_abandoned(left.parent)
    psutil.wait_procs([orphan], timeout=60)
    assert not orphan.is_running()
    assert not left.exists()
    # Those of tests that run are left alone.
    with temporary_server() as server:
        data_folders._remove_abandoned(server.log_path.parents[2])
        assert server.running()
