"""Which migrations run before and after the servers of a version, and what a version can use."""

import pytest

from tallystick.store.errors import SchemaError
from tallystick.store.schema_version import (
    Half,
    SchemaVersion,
    known_migrations,
    number_of,
    run_after,
    session_name,
    to_run,
    version_of,
)

EARLIER = ("0001.log", "0002.more")
KNOWN = (*EARLIER, "0003.wider", "0004.narrow.after")


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (KNOWN, SchemaVersion()),
        (KNOWN[:3], SchemaVersion(left=("0004.narrow.after",))),
        ((*KNOWN, "0005.next"), SchemaVersion(newer=("0005.next",), is_known=False)),
    ],
)
def test_what_a_version_can_use(found: tuple[str, ...], expected: SchemaVersion) -> None:
    assert version_of(found, KNOWN) == expected


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (EARLIER, "lacks 0003.wider, 0004.narrow.after: run `tallystick migrate`"),
        ((*EARLIER, "0004.narrow.after"), "lacks 0003.wider: run"),
        (
            (*KNOWN, "0005.next", "0006.less.after"),
            "has 0005.next, 0006.less.after of a newer version: upgrade",
        ),
        ((*KNOWN[:3], "0005.next"), "lacks 0004.narrow.after: run"),
    ],
)
def test_what_a_version_cannot_use(found: tuple[str, ...], says: str) -> None:
    with pytest.raises(SchemaError, match=says):
        version_of(found, KNOWN)


def test_some_of_what_runs_after() -> None:
    """Two versions in a row have only what runs after their servers: no file says what is in between."""
    known = (*KNOWN, "0005.narrower.after")
    assert run_after(known) == ("0004.narrow.after", "0005.narrower.after")
    assert version_of(known[:3], known) == SchemaVersion(left=known[3:])
    assert version_of(KNOWN, known) == SchemaVersion(left=known[4:], is_known=False)


def test_halves() -> None:
    missing = KNOWN[2:]
    assert to_run(missing, None) == ["0003.wider", "0004.narrow.after"]
    assert to_run(missing, Half.BEFORE) == ["0003.wider"]
    assert to_run(missing[1:], Half.BEFORE) == []
    assert to_run(missing[1:], Half.AFTER) == ["0004.narrow.after"]
    assert to_run((), Half.BEFORE) == to_run((), Half.AFTER) == []


def test_the_half_after_waits_for_the_other() -> None:
    with pytest.raises(SchemaError, match=r"0003\.wider comes first: run `tallystick migrate --before`"):
        to_run(KNOWN[2:], Half.AFTER)


def test_no_version_is_left_out() -> None:
    missing = ("0003.wider", "0004.narrow.after", "0005.next", "0006.less.after")
    with pytest.raises(SchemaError, match=r"0004\.narrow\.after comes before 0005\.next.*stop all servers"):
        to_run(missing, Half.BEFORE)
    # Servers from before cannot write to what this one makes.
    with pytest.raises(SchemaError, match=r"0003\.batch_first comes before 0004\.sagas"):
        to_run(("0003.batch_first", "0004.sagas"), Half.BEFORE)


def test_a_new_database_has_no_servers() -> None:
    new = ("0003.wider", "0004.narrow.after", "0005.next", "0006.less.after")
    assert to_run(new, Half.BEFORE, is_new=True) == list(new[:3])


def test_this_version() -> None:
    known = known_migrations()
    assert [number_of(name) for name in known] == list(range(1, len(known) + 1))
    assert session_name("writer") == f"tallystick writer {len(known)}"
