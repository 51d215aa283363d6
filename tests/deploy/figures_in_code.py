"""The figures that a server shows, by the names that Prometheus knows, and the names in an expression."""

import re
from typing import Final

from prometheus_client import REGISTRY

# Modules that declare figures.
from tallystick.background import alarms, worker
from tallystick.followers.webhooks import metrics as webhook_metrics
from tallystick.ledger import metrics

_DECLARING: Final = (alarms, worker, metrics, webhook_metrics)
_SUFFIXES: Final = {"counter": ["_total"], "gauge": [""], "histogram": ["_bucket", "_sum", "_count"]}
# What the system and Prometheus add.
OTHERS: Final = {"up", "process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds"}
_NAME: Final = re.compile(r"\b(?:tallystick|process)_[a-z_]+\b|\bup\b")


def all_figures() -> dict[str, str]:
    """What each figure is for, by its name."""
    assert _DECLARING
    return {
        metric.name + suffix: metric.documentation
        for metric in REGISTRY.collect()
        if metric.name.startswith("tallystick_")
        for suffix in _SUFFIXES[metric.type]
    }


def named(expression: str) -> set[str]:
    """The figures that an expression of Prometheus names."""
    without_texts = re.sub(r'"[^"]*"', '""', expression)
    without_grouping = re.sub(r"\b(?:by|without)\s*\([^)]*\)", "", without_texts)
    return set(_NAME.findall(without_grouping))
