"""Faults happen in turns, and one that did not bite is an error."""

import asyncio
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import islice

import psutil
import pytest

from tests.chaos.proofs import expect_gone, proof_of_stop, stopped
from tests.chaos.strikes import NotBittenError, Strike, in_turns
from tests.waiting import wait_for


async def nothing(_chance: random.Random) -> str:
    return "nothing"


SINGLE = [Strike(kind, place, place, nothing) for kind in ("kill", "freeze") for place in ("one", "two")]
TOGETHER = [[Strike(kind, place, place, nothing) for kind, place in (("kill", "one"), ("cut", "two"))]]


@pytest.fixture
def process() -> Iterator[psutil.Process]:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield psutil.Process(process.pid)
        process.kill()


def test_each_kind_happens_as_often_as_the_others() -> None:
    drawn = list(islice(in_turns(random.Random(1), SINGLE, TOGETHER), 300))
    firsts = Counter(strikes[0].kind for strikes in drawn if strikes != TOGETHER[0])
    assert firsts == {"kill": 100, "freeze": 100}
    assert drawn.count(TOGETHER[0]) == 100


def test_two_at_once_strike_different_places() -> None:
    drawn = list(islice(in_turns(random.Random(1), SINGLE, []), 300))
    pairs = [strikes for strikes in drawn if len(strikes) > 1]
    assert pairs
    assert all(first.place != second.place for first, second in pairs)


def test_the_order_follows_from_the_seed() -> None:
    one, again, other = (
        list(islice(in_turns(random.Random(seed), SINGLE, TOGETHER), 30)) for seed in (1, 1, 2)
    )
    assert one == again != other


def test_a_process_that_stands_still_is_a_proof(process: psutil.Process) -> None:
    with stopped([process]) as processes:
        wait_for(lambda: process.status() == psutil.STATUS_STOPPED, "it stands still")
        assert proof_of_stop(processes) == "1 processes stood still"
    wait_for(lambda: process.status() != psutil.STATUS_STOPPED, "it goes on")
    with pytest.raises(NotBittenError):
        proof_of_stop([process])


def test_no_process_is_no_proof() -> None:
    with pytest.raises(NotBittenError):
        proof_of_stop([])


async def test_a_process_that_lives_on_is_an_error(
    process: psutil.Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.chaos.proofs.GONE_SECONDS_MAX", 0.05)
    with pytest.raises(NotBittenError):
        await expect_gone([process])
    process.kill()
    await asyncio.to_thread(process.wait)
    await expect_gone([process])
