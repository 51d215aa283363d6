"""The cache of `tallystick up` is started again whenever it ends, sooner when it ran well before."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tallystick.cli.own_cache import OwnCache
from tallystick.domain import limits
from tests.lives import lives
from tests.waiting import wait_for

SOON_SECONDS = 0.05


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(limits, "NODE_RESTART_DELAY_SECONDS", SOON_SECONDS)
    return []


@pytest.fixture
def cache(said: list[str], tmp_path: Path) -> Iterator[OwnCache]:
    cache = OwnCache(tmp_path / "valkey", say=said.append)
    cache.start()
    yield cache
    cache.stop()


def end_and_look(cache: OwnCache) -> None:
    """Kill the server, and look until it is started again."""
    pid = cache._server.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)

    def started_again() -> bool:
        cache.look()
        return cache._server.pid != pid

    wait_for(started_again, "Valkey is started again")
    wait_for(cache._server.answers, "Valkey answers")


def test_it_is_started_again_at_the_same_address(cache: OwnCache, said: list[str]) -> None:
    address = cache.address
    end_and_look(cache)
    assert cache.address == address
    assert said[0] == f"Started Valkey at {address}"
    assert said[1].startswith("Valkey ended by itself: balances are read from PostgreSQL")
    assert said[2] == f"Started Valkey again at {address}"


def test_pauses_grow_while_it_ends_again_and_again(cache: OwnCache) -> None:
    end_and_look(cache)
    end_and_look(cache)
    assert cache._delay_seconds == pytest.approx(4 * SOON_SECONDS)


def test_pauses_begin_anew_when_it_ran_well(cache: OwnCache, monkeypatch: pytest.MonkeyPatch) -> None:
    end_and_look(cache)
    end_and_look(cache)
    monkeypatch.setattr(limits, "NODE_RESTART_DELAY_SECONDS_MAX", SOON_SECONDS)
    time.sleep(2 * SOON_SECONDS)
    end_and_look(cache)
    assert cache._delay_seconds == pytest.approx(SOON_SECONDS)


def test_nothing_is_left_of_it(cache: OwnCache) -> None:
    pid = cache._server.pid
    assert pid is not None
    cache.stop()
    assert not lives(pid)
    assert not Path(cache.address.removeprefix("unix://")).parent.exists()
