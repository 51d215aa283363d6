"""What is stuck is tried less and less often, and what is told of it is bounded."""

import pytest

from tallystick.background import alarms, pauses
from tallystick.background.alarms import AlarmRate
from tallystick.domain import limits
from tallystick.ledger.crossing.saga import stuck as stuck_sagas
from tallystick.ledger.crossing.saga.stuck import StuckSagas
from tests.waiting import HandClock

SAGA = 7
HOUR_SECONDS = 3_600


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> HandClock:
    clock = HandClock()
    monkeypatch.setattr(alarms, "time", clock)
    monkeypatch.setattr(stuck_sagas, "time", clock)
    return clock


def test_a_stuck_saga_is_tried_less_and_less_often(clock: HandClock) -> None:
    stuck = StuckSagas()
    attempts = 0
    for _ in range(HOUR_SECONDS):
        clock.seconds += 1
        if not stuck.rests(SAGA):
            attempts += 1
            stuck.note(SAGA)
    # The longest pause is 30 seconds, and jitter halves it at most.
    longest_seconds = limits.RECOVERY_DELAY_SECONDS_MAX
    assert HOUR_SECONDS / (longest_seconds + 1) <= attempts <= HOUR_SECONDS / (longest_seconds / 2) + 10
    assert not stuck.rests(SAGA + 1)
    stuck.forget(SAGA)
    assert not stuck.rests(SAGA)


def test_no_more_stuck_sagas_are_remembered_than_are_watched(
    clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "RECOVERY_SAGAS_WATCHED_MAX", 3)
    monkeypatch.setattr(pauses, "jittered", float)
    stuck = StuckSagas()
    for saga in range(5):
        stuck.note(saga)
    assert [saga for saga in range(5) if stuck.rests(saga)] == [2, 3, 4]
    assert clock.seconds == 1_000.0


def test_alarms_of_one_sort_are_bounded_and_the_others_counted(clock: HandClock) -> None:
    rate = AlarmRate()
    taken = [rate.take() for _ in range(limits.ALARMS_AT_A_TIME + 5)]
    assert taken == [0] * limits.ALARMS_AT_A_TIME + [None] * 5
    clock.seconds += limits.ALARM_SECONDS
    assert rate.take() == 5
    assert rate.take() == 0
