"""What a server counts, as operators read it: at a port of theirs."""

import urllib.request
from typing import Protocol

from tests.ports import HOST

ANSWER_SECONDS_MAX = 60.0

_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Counting(Protocol):
    """A server with an operators' port."""

    metrics_port: int


def metrics_at(port: int) -> list[str]:
    """All that is counted at a port, line by line."""
    with _opener.open(f"http://{HOST}:{port}/metrics", timeout=ANSWER_SECONDS_MAX) as answer:
        return str(answer.read().decode()).splitlines()


def metrics(server: Counting) -> list[str]:
    """All that a server counts, line by line."""
    return metrics_at(server.metrics_port)


def metric(server: Counting, name: str, **labels: str) -> float:
    """The sum of a metric's figures with these labels; 0 while nothing was counted."""
    wanted = [f'{label}="{value}"' for label, value in labels.items()]
    return sum(
        float(line.rsplit(" ", 1)[1])
        for line in metrics(server)
        if line.startswith(f"{name}{{") and all(label in line for label in wanted)
    )
