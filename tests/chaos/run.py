"""A run: load and faults at once, then peace, the final state, and the verdict of all checks."""

import asyncio
import json
import random
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.chaos.calls import Calls
from tests.chaos.checks import violations
from tests.chaos.checks.evidence import Evidence
from tests.chaos.final_state import read_final_state
from tests.chaos.history import Fault, Recorder, now_us, read_history
from tests.chaos.load import Load, LoadSettings
from tests.chaos.report import Pause, by_fault, lacking, pauses, summary, unnoticed
from tests.chaos.settling import Settling
from tests.chaos.strikes import Running, Strike, in_turns

HISTORY: Final = "history.jsonl"
FINAL: Final = "final"
CALM_SECONDS: Final = (0.5, 2.0)
"""Between two faults."""


class RunSettings(NamedTuple):
    """What is done, and for how long. `only` names the kinds of faults that happen; by default all do.

    When the load has ended, what is open has `settle_seconds_max` to come to its end.
    """

    load: LoadSettings
    only: tuple[str, ...] = ()
    settle_seconds_max: float = 90.0


class Verdict(NamedTuple):
    """What a run has come to. It is good when nothing is listed."""

    violations: dict[str, list[str]]
    unnoticed: list[str]
    lacking: list[str]
    unverified: str
    numbers: dict[str, Any]
    pauses: list[Pause]

    @property
    def good(self) -> bool:
        """Whether nothing was wrong, and the run has shown something."""
        return not (self.violations or self.unnoticed or self.lacking or self.unverified)

    def text(self) -> str:
        """The verdict for people."""
        lines = [json.dumps(self.numbers, indent=2)]
        lines += [
            f"{what}: longest time without a payment: {', '.join(f'{one:.1f}' for one in sorted(seconds))} s"
            for what, seconds in by_fault(self.pauses).items()
        ]
        for check, found in self.violations.items():
            lines += [f"VIOLATION {check}: {line}" for line in found]
        lines += [f"NOT NOTICED: {fault}" for fault in self.unnoticed]
        lines += [f"LACKING: {what}" for what in self.lacking]
        if self.unverified:
            lines.append(f"verify: {self.unverified}")
        lines.append("good" if self.good else "NOT GOOD")
        return "\n".join(lines)


async def run(folder: Path, running: Running, settings: RunSettings) -> Verdict:
    """Run in a folder, in which the history and the final state stay."""
    with Recorder(folder / HISTORY) as recorder:
        for address in running.balancers:
            recorder.balancer(address)
        async with Calls(running.api_key, recorder) as calls:
            load = Load(calls, running.addresses, settings.load)
            await load.prepare()
            until = time.monotonic() + settings.load.seconds
            async with asyncio.TaskGroup() as group:
                group.create_task(load.run())
                group.create_task(_strike(running, recorder, settings, until))
            settling = Settling(calls, list(dict.fromkeys(running.addresses)), settings.load.seed)
            await settling.wait_until_ready()
            seconds = await settling.settle(settings.settle_seconds_max)
            again = await settling.ask_again(read_history(folder / HISTORY))
            await settling.fetch(folder / FINAL)
    _say(f"settled in {seconds:.1f} s, {again} requests asked again")
    unverified = await asyncio.to_thread(running.verify)
    return judge(folder, unverified, {one.kind for one in running.single if one.noticed})


def judge(folder: Path, unverified: str, must_be_noticed: Iterable[str]) -> Verdict:
    """The verdict on what a run has left in its folder."""
    evidence = Evidence(read_history(folder / HISTORY), read_final_state(folder / FINAL))
    noticed = set(must_be_noticed)
    faults = [fault for fault in evidence.history.faults if fault.kind in noticed]
    return Verdict(
        violations(evidence),
        [f"{fault.kind}, {fault.target}: {fault.proof}" for fault in unnoticed(evidence.history, faults)],
        lacking(evidence),
        unverified,
        summary(evidence),
        pauses(evidence),
    )


async def _strike(running: Running, recorder: Recorder, settings: RunSettings, until: float) -> None:
    """Let faults happen, one after the other, until the time is over."""
    chance = random.Random(f"{settings.load.seed} faults")
    single = [one for one in running.single if not settings.only or one.kind in settings.only]
    for together in in_turns(chance, single, [] if settings.only else running.together):
        await asyncio.sleep(chance.uniform(*CALM_SECONDS))
        if time.monotonic() > until - running.fault_seconds:
            return
        async with asyncio.TaskGroup() as group:
            for one in together:
                group.create_task(_happen(one, recorder, random.Random(chance.random())))


async def _happen(strike: Strike, recorder: Recorder, chance: random.Random) -> None:
    began_us = now_us()
    proof = await strike.happen(chance)
    recorder.fault(Fault(strike.kind, strike.target, began_us, now_us(), proof, strike.restarts))
    _say(f"{strike.kind}, {strike.target}: {(now_us() - began_us) / 1e6:.1f} s; {proof}")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
