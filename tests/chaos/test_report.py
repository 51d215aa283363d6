"""Who has noticed a fault, and how long no client could pay."""

from tests.chaos.checks.evidence import Evidence
from tests.chaos.history import Fault
from tests.chaos.report import Pause, by_fault, lacking, pauses, summary, unnoticed
from tests.chaos.right_run import SERVERS, TURN_US, right_run


def lost(evidence: Evidence) -> int:
    """When an answer was lost."""
    return next(attempt.began_us for attempt in evidence.history.attempts if attempt.status is None)


def test_a_fault_is_noticed_by_a_lost_answer() -> None:
    evidence = right_run()
    at_us = lost(evidence)
    seen = Fault("kill", SERVERS[0], at_us - 1, at_us + 1, "")
    elsewhere = Fault("kill", SERVERS[1], at_us - 1, at_us + 1, "")
    behind = Fault("kill", "shard 1", at_us - 1, at_us + 1, "")
    before = Fault("kill", SERVERS[0], at_us - TURN_US, at_us - TURN_US // 2, "")
    assert unnoticed(evidence.history, [seen, elsewhere, behind, before]) == [elsewhere, before]


def test_a_fault_is_noticed_by_a_late_answer() -> None:
    evidence = right_run()
    late = evidence.history.attempts[0]
    assert late.completed is not None
    fault = Fault("freeze", "shard 1", late.began_us, late.began_us + TURN_US, "")
    assert unnoticed(evidence.history, [fault]) == [fault]
    late.completed.at_us = late.began_us + TURN_US - 1
    assert unnoticed(evidence.history, [fault]) == []


def test_a_client_that_hangs_up_has_noticed_nothing() -> None:
    evidence = right_run()
    for attempt in evidence.history.attempts:
        if attempt.completed is not None and attempt.status is None:
            attempt.completed.error = "hung up"
    at_us = lost(evidence)
    fault = Fault("kill", SERVERS[0], at_us - 1, at_us + 1, "")
    assert unnoticed(evidence.history, [fault]) == [fault]


def test_a_pause_is_the_longest_time_without_a_payment() -> None:
    evidence = right_run()
    evidence.history.faults[:] = [Fault("kill", "shard 2", TURN_US, TURN_US * 2, "")]
    first, second = pauses(evidence)
    # Each payment takes a turn; shard 2 pays for the first time after the fault.
    assert first == Pause("kill", "shard 2", 1, 1.0)
    assert second == Pause("kill", "shard 2", 2, 0.0)


def test_a_summary_counts() -> None:
    numbers = summary(right_run())
    assert numbers["acknowledged"]["transfer"] == 6
    assert numbers["payments between shards"] == 4
    assert numbers["never known"] == 2
    assert numbers["holds"] == {"captured": 2, "expired": 1, "voided": 1}
    assert numbers["keys with two bodies"] == 1


def test_a_load_that_lacks_something_is_named() -> None:
    assert lacking(right_run()) == ["nothing was hung up"]


def test_pauses_are_told_apart_by_where_the_fault_was() -> None:
    found = [
        Pause("kill", "shard 2", 1, 1.0),
        Pause("kill", "shard 2", 2, 3.0),
        Pause("flood", "Valkey", 2, 2.0),
    ]
    assert by_fault(found) == {"kill, the other shard": [1.0], "kill, that shard": [3.0], "flood": [2.0]}
