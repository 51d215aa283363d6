"""The watchdog resets a machine whose Patroni hangs, and none whose Patroni answers late."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tallystick.cluster import watchdog as module
from tallystick.cluster.plan import PATRONI_PORT, Machine, Plan, plan_of
from tallystick.cluster.service import Service
from tallystick.cluster.watchdog import Watchdog
from tallystick.embedded.server_account import own_account

SILENT_SECONDS_MAX = 1.5
LATE_SECONDS = 0.5
LOOK_SECONDS = 0.02

pytestmark = pytest.mark.slow


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    plan = plan_of(tmp_path, network=f"127.{200 + os.getpid() % 50}.{os.getpid() // 50 % 250}")
    plan.work_of(plan.databases[1][0]).mkdir(parents=True)
    return plan


@contextmanager
def patroni(machine: Machine, answers: threading.Event) -> Iterator[None]:
    """Something that answers late where Patroni listens, for as long as it is allowed to answer."""

    class Late(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            time.sleep(LATE_SECONDS)
            answers.wait()
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer((machine.address, PATRONI_PORT), Late) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            answers.set()
            server.shutdown()
            thread.join()


def runs_after(watchdog: Watchdog, service: Service, seconds: float) -> bool:
    """Whether the program still runs when the watchdog has looked for some time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and service.running:
        watchdog.look([service])
        time.sleep(LOOK_SECONDS)
    return service.running


def test_only_a_patroni_that_does_not_answer_at_all_is_reset(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SILENT_SECONDS_MAX", SILENT_SECONDS_MAX)
    monkeypatch.setattr(module, "INTERVAL_SECONDS", 0.1)
    monkeypatch.setattr(module, "ANSWER_SECONDS_MAX", SILENT_SECONDS_MAX / 2)
    said: list[str] = []
    machine = plan.databases[1][0]
    service = Service("patroni", ["sleep", "60"], plan=plan, machine=machine, account=own_account())
    watchdog = Watchdog(plan, say=said.append)
    answers = threading.Event()
    answers.set()
    service.start()
    try:
        with patroni(machine, answers):
            assert runs_after(watchdog, service, 2 * SILENT_SECONDS_MAX)
            answers.clear()
            assert not runs_after(watchdog, service, 4 * SILENT_SECONDS_MAX)
            assert said == [
                f"{machine.name}: Patroni has not answered for {SILENT_SECONDS_MAX:.0f} s: the machine is reset"
            ]
    finally:
        watchdog.stop()
        service.stop()
        service.wait(time.monotonic() + SILENT_SECONDS_MAX)
