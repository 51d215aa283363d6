"""Private files are whole or not there, and only their owner can read them."""

from pathlib import Path

import pytest

from tallystick.files import file_mark, partial_of, reason_of, write_private


def test_only_the_owner_can_read_what_is_written(tmp_path: Path) -> None:
    """Also when others could read what was there before."""
    path = tmp_path / "secret"
    path.write_text("before")
    path.chmod(0o644)
    write_private(path, "after")
    assert path.read_text() == "after"
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    partial_of(path).write_text("hal")
    write_private(path, "whole")
    assert path.read_text() == "whole"
    assert not partial_of(path).exists()


def test_a_link_that_waits_under_the_partial_name_is_not_followed(tmp_path: Path) -> None:
    path, elsewhere = tmp_path / "secret", tmp_path / "elsewhere"
    partial_of(path).symlink_to(elsewhere)
    write_private(path, "whole")
    assert not elsewhere.exists()


def test_who_writes_alone_refuses_while_another_writes(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    partial_of(path).write_text("another's")
    with pytest.raises(FileExistsError):
        write_private(path, "mine", alone=True)
    assert partial_of(path).read_text() == "another's"


def test_a_failure_leaves_what_was_there_before(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("before")

    def fail(_: Path) -> None:
        raise PermissionError

    with pytest.raises(PermissionError):
        write_private(path, "after", prepare=fail)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_mark_changes_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert file_mark(path) is None
    write_private(path, "one")
    one = file_mark(path)
    assert one is not None
    assert file_mark(path) == one
    write_private(path, "two")
    assert file_mark(path) != one


def test_a_reason_has_no_number_and_no_path_that_the_message_names(tmp_path: Path) -> None:
    path = tmp_path / "missing"
    with pytest.raises(FileNotFoundError) as refused:
        path.read_bytes()
    for named in (path, str(path)):
        assert reason_of(refused.value, named) == "No such file or directory"
    # Another path than the one that is named says more.
    assert reason_of(refused.value, tmp_path) == f"No such file or directory: {path}"
    assert reason_of(TimeoutError("timed out")) == "timed out"


def test_a_reason_shows_nothing_of_what_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "bytes"
    path.write_bytes(b"\xff")
    with pytest.raises(UnicodeDecodeError) as refused:
        path.read_text(encoding="utf-8")
    assert reason_of(refused.value, path) == "it is no text in UTF-8"
