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


@pytest.fixture
def machine(plan: Plan) -> Machine:
    return plan.databases[1][0]


@pytest.fixture
def service(plan: Plan, machine: Machine) -> Iterator[Service]:
    """A program in the place of Patroni."""
    service = Service("patroni", ["sleep", "60"], plan=plan, machine=machine, account=own_account())
    service.start()
    yield service
    service.stop()
    service.wait(time.monotonic() + SILENT_SECONDS_MAX)


@pytest.fixture(autouse=True)
def short_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SILENT_SECONDS_MAX", SILENT_SECONDS_MAX)
    monkeypatch.setattr(module, "ANSWER_SECONDS_MAX", SILENT_SECONDS_MAX / 2)


def test_only_a_patroni_that_does_not_answer_at_all_is_reset(
    plan: Plan, machine: Machine, service: Service
) -> None:
    said: list[str] = []
    answers = threading.Event()
    answers.set()
    with patroni(machine, answers), closing_watchdog(plan, said) as watchdog:
        assert runs_after(watchdog, service, 2 * SILENT_SECONDS_MAX)
        answers.clear()
        assert not runs_after(watchdog, service, 4 * SILENT_SECONDS_MAX)
    assert said == [
        f"{machine.name}: Patroni has not answered for {SILENT_SECONDS_MAX:.0f} s: the machine is reset"
    ]


def test_a_patroni_that_is_not_asked_for_a_while_is_not_silent(
    plan: Plan, machine: Machine, service: Service
) -> None:
    """What looks has something else to do meanwhile, such as to migrate databases."""
    answers = threading.Event()
    answers.set()
    with patroni(machine, answers), closing_watchdog(plan, []) as watchdog:
        # It has answered, and the next question is not due yet.
        assert runs_after(watchdog, service, (LATE_SECONDS + module.INTERVAL_SECONDS) / 2)
        time.sleep(2 * SILENT_SECONDS_MAX)
        assert runs_after(watchdog, service, SILENT_SECONDS_MAX)


@contextmanager
def closing_watchdog(plan: Plan, said: list[str]) -> Iterator[Watchdog]:
    watchdog = Watchdog(plan, say=said.append)
    try:
        yield watchdog
    finally:
        watchdog.stop()
