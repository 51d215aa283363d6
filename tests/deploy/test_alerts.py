"""Alert rules: one for each alarm in the code, with a text that says what to do, and each of them fires."""

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
import yaml

from tallystick.background.alarms import Alarm
from tests.deploy.figures_in_code import OTHERS, all_figures, named

RULES_PATH: Final = Path(__file__).parents[2] / "deploy" / "alerts.yaml"
PROMTOOL: Final = shutil.which("promtool")
TARGET: Final = {"job": "tallystick", "instance": "one:9000"}
QUIET_MINUTES: Final = 10

needs_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="there is no promtool: apt-get install prometheus"
)


class Case(NamedTuple):
    """A figure that lets an alert fire: quiet for ten minutes, then as `then` says, in promtool's notation."""

    figure: str
    labels: Mapping[str, str] = {}
    quiet: str = "0x10"
    then: str = "1x50"
    after_minutes: int = 15
    value: str = ""
    """What the text says in place of the value."""


SHARD: Final = {"shard": "1"}
HOOK: Final = {"shard": "1", "endpoint": "hook_0123456789abcd"}
# What lets the others fire is their alarm.
CASES: Final[Mapping[str, Case]] = {
    "TallystickBug": Case("tallystick_faulty_answers_total", {"method": "POST"}),
    "TallystickCommandFailed": Case("tallystick_faulty_commands_total", SHARD),
    "TallystickBackgroundWorkFailed": Case("tallystick_worker_failures_total", {"worker": "expiry", **SHARD}),
    "TallystickClocksDiffer": Case("tallystick_clock_difference_seconds", SHARD, then="-20x50"),
    "TallystickSagaOpen": Case("tallystick_sagas_oldest_seconds", SHARD, then="90x50", value="1m 30s"),
    "TallystickSagaStuck": Case("tallystick_sagas_stuck_total", SHARD),
    "TallystickCacheNotUsed": Case("tallystick_cache_errors_total", SHARD, then="1+1x50"),
    "TallystickBalanceCorrected": Case("tallystick_cache_drift_total", SHARD),
    "TallystickLimitsNotShared": Case(
        "tallystick_alarms_total", {"alarm": Alarm.LIMITS_NOT_SHARED.label}, then="1+1x50"
    ),
    "TallystickWebhookParked": Case("tallystick_webhook_parked", HOOK),
    "TallystickWebhookWaitsForKey": Case("tallystick_webhook_secret_unreadable", HOOK),
    "TallystickNoMetrics": Case("up", quiet="1x10", then="0x50"),
    "TallystickShardDown": Case("tallystick_shard_up", SHARD, quiet="1x10", then="0x50"),
    "TallystickRestarts": Case(
        "tallystick_process_starts_total", {"process": "0"}, quiet="1x10", then="2+1x50"
    ),
    "TallystickOverloaded": Case(
        "tallystick_unserved_total", {"reason": "overloaded", **SHARD}, then="1+10x50", after_minutes=20
    ),
    "TallystickSlowBatches": Case(
        "tallystick_batch_seconds_bucket", {"le": "2", **SHARD}, then="1+1x50", after_minutes=30
    ),
    "TallystickCacheBehind": Case(
        "tallystick_cache_lag_seconds", SHARD, then="60x50", after_minutes=20, value="1m 0s"
    ),
    "TallystickFeedBehind": Case(
        "tallystick_feed_lag_seconds", SHARD, then="60x50", after_minutes=20, value="1m 0s"
    ),
    "TallystickWebhooksBehind": Case(
        "tallystick_webhook_lag_seconds", HOOK, then="3600x50", after_minutes=20, value="1h 0m 0s"
    ),
    "TallystickNobodyDelivers": Case("tallystick_webhook_delivering", SHARD, quiet="1x10", then="0x50"),
    "TallystickCommitsUnknown": Case("tallystick_commits_unknown_total", SHARD, then="1+5x50"),
}
# Labels that a rule sums over.
SUMMED: Final = {"TallystickRestarts": {"process"}, "TallystickOverloaded": {"reason"},
                 "TallystickSlowBatches": {"le"}, "TallystickNobodyDelivers": {"instance"}}  # fmt: skip


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES_PATH.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def test_each_alarm_in_the_code_has_one_rule() -> None:
    watched = [rule["labels"]["alarm"] for rule in rules() if "alarm" in rule["labels"]]
    assert sorted(watched) == sorted(alarm.label for alarm in Alarm), "deploy/alerts.yaml has a rule for each"


def test_each_figure_that_is_an_alarm_is_watched() -> None:
    alarms = {name for name, what in all_figures().items() if what.startswith("ALARM")}
    assert alarms
    assert alarms <= set().union(*(named(rule["expr"]) for rule in rules()))


def test_each_figure_in_a_rule_exists() -> None:
    for rule in rules():
        figures = named(rule["expr"])
        assert figures, rule
        assert figures <= all_figures().keys() | OTHERS, rule


def test_each_rule_says_what_to_do() -> None:
    for rule in rules():
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["annotations"].keys() == {"summary", "description"}
        # What it names of the log is in the log.
        for quoted in re.findall(r'"(ALARM: [^"]*)"', rule["annotations"]["description"]):
            assert any(alarm.text.startswith(quoted) for alarm in Alarm), rule


@needs_promtool
def test_the_rules_are_right_for_prometheus() -> None:
    promtool("check", "rules", "--lint=all", "--lint-fatal", str(RULES_PATH))


@needs_promtool
def test_each_rule_fires_and_none_before(tmp_path: Path) -> None:
    tests = []
    for rule in rules():
        case = CASES.get(rule["alert"]) or Case("tallystick_alarms_total", {"alarm": rule["labels"]["alarm"]})
        labels = {**case.labels, **TARGET}
        series = [{"series": shown(case.figure, labels), "values": f"{case.quiet} {case.then}"}]
        if rule["alert"] == "TallystickSlowBatches":
            # All batches are slower than a second.
            series.append({"series": shown(case.figure, {**labels, "le": "1"}), "values": "0x60"})
            series.append(
                {"series": shown(case.figure, {**labels, "le": "+Inf"}), "values": series[0]["values"]}
            )
        kept = {name: value for name, value in labels.items() if name not in SUMMED.get(rule["alert"], set())}
        firing = {
            "exp_labels": {**kept, **rule["labels"]},
            "exp_annotations": {
                name: filled(text, kept, case.value) for name, text in rule["annotations"].items()
            },
        }
        alert = {"alertname": rule["alert"]}
        tests.append(
            {
                "interval": "1m",
                "input_series": series,
                "alert_rule_test": [
                    {"eval_time": f"{QUIET_MINUTES}m", **alert, "exp_alerts": []},
                    {"eval_time": f"{case.after_minutes}m", **alert, "exp_alerts": [firing]},
                ],
            }
        )
    path = tmp_path / "tests.yaml"
    path.write_text(yaml.safe_dump({"rule_files": [str(RULES_PATH)], "tests": tests}), encoding="utf-8")
    promtool("test", "rules", str(path))


def promtool(*arguments: str) -> None:
    done = subprocess.run([str(PROMTOOL), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def shown(figure: str, labels: Mapping[str, str]) -> str:
    named_labels = ", ".join(f'{name}="{value}"' for name, value in labels.items())
    return f"{figure}{{{named_labels}}}"


def filled(text: str, labels: Mapping[str, str], value: str) -> str:
    """The text of an alert with these labels. A label that is not there is an error."""
    with_labels = re.sub(r"\{\{ \$labels\.(\w+) \}\}", lambda found: labels[found[1]], text)
    return with_labels.replace("{{ $value | humanizeDuration }}", value)
