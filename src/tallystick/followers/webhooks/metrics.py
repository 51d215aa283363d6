"""Metrics of the delivery of webhooks, for Prometheus."""

from typing import Final

from prometheus_client import Counter, Gauge

_LABELS: Final = ["shard", "endpoint"]

DELIVERIES: Final = Counter("tallystick_webhook_deliveries", "Messages that receivers accepted.", _LABELS)
FAILURES: Final = Counter("tallystick_webhook_failures", "Attempts at messages that failed.", _LABELS)
PARKED: Final = Gauge(
    "tallystick_webhook_parked",
    "ALARM: 1 while an endpoint gets no messages, because it failed for too long.",
    _LABELS,
)
UNREADABLE: Final = Gauge(
    "tallystick_webhook_secret_unreadable",
    "ALARM: 1 while an endpoint waits, because the key of its secret is missing.",
    _LABELS,
)
LAG_POSITIONS: Final = Gauge(
    "tallystick_webhook_lag_positions", "How far an endpoint is behind the head of the log.", _LABELS
)
LAG_SECONDS: Final = Gauge(
    "tallystick_webhook_lag_seconds",
    "Age of the first transaction that was not delivered to an endpoint.",
    _LABELS,
)
DELIVERING: Final = Gauge(
    "tallystick_webhook_delivering", "1 while this process delivers the webhooks of a shard.", ["shard"]
)


def forget(shard: int, endpoint: str) -> None:
    """Remove the state of an endpoint: it was removed, or another process delivers to it now."""
    for gauge in (PARKED, UNREADABLE, LAG_POSITIONS, LAG_SECONDS):
        gauge.remove(str(shard), endpoint)


def forget_counts(shard: int, endpoint: str) -> None:
    """Remove the counts of an endpoint that was removed or paused."""
    for counter in (DELIVERIES, FAILURES):
        counter.remove(str(shard), endpoint)
