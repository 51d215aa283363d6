"""A history is read as it was written, also when its writer was killed."""

from pathlib import Path

import pytest

from tests.chaos.history import Fault, Recorder, Result, read_history


def write(path: Path) -> None:
    with Recorder(path) as recorder:
        for status in (201, None):
            request = recorder.invoked(
                client=1, operation=2, kind="transfer", server="http://one", method="POST",
                path="/v1/transfers", key="k", body='{"amount": "1"}',
            )  # fmt: skip
            if status:
                recorder.completed(request, status, '{"id": "é"}')
        recorder.balancer("http://both")
        recorder.fault(Fault("kill", "http://one", 1, 2, "gone", restarts=True))


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    write(tmp_path / "history")
    history = read_history(tmp_path / "history")
    first, second = history.attempts
    assert (first.invoked.body, first.status, first.answer) == ('{"amount": "1"}', 201, '{"id": "é"}')
    assert first.result is Result.ACKNOWLEDGED
    assert first.ended_us is not None
    assert first.began_us <= first.ended_us
    assert (second.result, second.ended_us) == (Result.UNKNOWN, None)
    assert [attempt.invoked.request for attempt in history.by_key["k"]] == [1, 2]
    assert history.faults == [Fault("kill", "http://one", 1, 2, "gone", restarts=True)]
    assert history.balancers == {"http://both"}


def test_a_cut_line_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "history"
    write(path)
    path.write_bytes(path.read_bytes()[:-5])
    history = read_history(path)
    assert (len(history.attempts), history.faults) == (2, [])


def test_it_is_on_its_way_to_the_disk_at_once(tmp_path: Path) -> None:
    path = tmp_path / "history"
    with Recorder(path) as recorder:
        recorder.invoked(client=1, operation=1, kind="balance", server="http://one", method="GET", path="/")
        assert len(read_history(path).attempts) == 1


@pytest.mark.parametrize(
    ("status", "result"),
    [
        (200, Result.ACKNOWLEDGED),
        (201, Result.ACKNOWLEDGED),
        (202, Result.PENDING),
        (422, Result.REFUSED),
        (400, Result.NOT_DONE),
        (409, Result.NOT_DONE),
        (429, Result.NOT_DONE),
        (500, Result.UNKNOWN),
        (503, Result.UNKNOWN),
        (None, Result.UNKNOWN),
    ],
)
def test_what_a_client_knows(tmp_path: Path, status: int | None, result: Result) -> None:
    with Recorder(tmp_path / "history") as recorder:
        assert recorder.completed(1, status).result is result
