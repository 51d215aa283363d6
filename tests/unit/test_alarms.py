"""Alarms: all of them are named in one place, and counted also when the log does not repeat them."""

import ast
from pathlib import Path

import structlog
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

import tallystick
from tallystick.background.alarms import Alarm, AlarmRate, raise_alarm, show_alarms

SOURCE = Path(tallystick.__file__).parent


def raised(alarm: Alarm) -> float | None:
    return REGISTRY.get_sample_value("tallystick_alarms_total", {"alarm": alarm.label})


def test_no_alarm_is_logged_past_the_list() -> None:
    """An alarm that is not in `Alarm` has no figure and no rule: use `raise_alarm`."""
    helps = ("tallystick_",)
    for path in SOURCE.rglob("*.py"):
        if path.name == "alarms.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                texts = [one.value for one in node.args if isinstance(one, ast.Constant)]
                says = [text for text in texts if isinstance(text, str) and text.startswith("ALARM")]
                # What a figure is for begins with the same word.
                assert not says or str(texts[0]).startswith(helps), f"{path}: {says[0]}"


def test_alarms_are_counted_also_when_they_are_silenced() -> None:
    rate = AlarmRate(1)
    log = structlog.get_logger()
    before = raised(Alarm.LISTENER_FAILED) or 0
    with capture_logs() as logs:
        for shard in range(3):
            raise_alarm(log, Alarm.LISTENER_FAILED, rate, shard=shard)
        raise_alarm(log, Alarm.LISTENER_FAILED, shard=3)
    assert logs == [
        {"event": "ALARM: a listener failed", "log_level": "error", "shard": 0, "silenced": 0},
        {"event": "ALARM: a listener failed", "log_level": "error", "shard": 3},
    ]
    assert raised(Alarm.LISTENER_FAILED) == before + 4


def test_alarms_that_were_not_raised_are_shown_as_0() -> None:
    show_alarms()
    assert all(raised(alarm) is not None for alarm in Alarm)
