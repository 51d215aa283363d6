"""Metrics of the delivery of webhooks, for Prometheus."""

from typing import Final

from tallystick.background.figures import (
    Combined,
    begin_counter,
    counter,
    forget_counter,
    forget_gauge,
    gauge,
)

_LABELS: Final = ["shard", "endpoint"]

DELIVERIES: Final = counter("tallystick_webhook_deliveries", "Messages that receivers accepted.", _LABELS)
FAILURES: Final = counter("tallystick_webhook_failures", "Attempts at messages that failed.", _LABELS)
PARKED: Final = gauge(
    "tallystick_webhook_parked",
    "ALARM: 1 while an endpoint gets no messages, because it failed for too long.",
    _LABELS,
    Combined.NEWEST,
)
UNREADABLE: Final = gauge(
    "tallystick_webhook_secret_unreadable",
    "ALARM: 1 while an endpoint waits, because the key of its secret is missing.",
    _LABELS,
    Combined.NEWEST,
)
LAG_POSITIONS: Final = gauge(
    "tallystick_webhook_lag_positions",
    "How far an endpoint is behind the head of the log.",
    _LABELS,
    Combined.NEWEST,
)
LAG_SECONDS: Final = gauge(
    "tallystick_webhook_lag_seconds",
    "Age of the first transaction that was not delivered to an endpoint.",
    _LABELS,
    Combined.NEWEST,
)
DELIVERING: Final = gauge(
    "tallystick_webhook_delivering",
    "1 while this server delivers the webhooks of a shard.",
    ["shard"],
    Combined.SUM,
)


def forget(shard: int, endpoint: str) -> None:
    """Remove the state of an endpoint: it was removed, or another process delivers to it now."""
    for one in (PARKED, UNREADABLE, LAG_POSITIONS, LAG_SECONDS):
        forget_gauge(one, str(shard), endpoint)


def begin_counts(shard: int, endpoint: str) -> None:
    """Count for an endpoint that is delivered to from now on."""
    for one in (DELIVERIES, FAILURES):
        begin_counter(one, str(shard), endpoint)


def forget_counts(shard: int, endpoint: str) -> None:
    """Remove the counts of an endpoint that was removed or paused."""
    for one in (DELIVERIES, FAILURES):
        forget_counter(one, str(shard), endpoint)
