"""Checks of reads: each was a balance that existed, in an order that its reader could have seen."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import Final

from tests.chaos.checks.evidence import BalanceRead, Evidence, Sighting, newest_before

AGE_SECONDS_MAX: Final = 10.0
"""How old a balance from the cache may be, as docs/reading-balances.md promises."""


def reads_existed(evidence: Evidence) -> Iterator[str]:
    """Each balance that a client was told is, with what is held, the one that the log has at its position."""
    for read in evidence.reads:
        state = evidence.state_at(read.account, read.position)
        if state is None:
            # Nothing had happened to it yet, whatever the position of that is.
            if read.balance or read.held:
                yield f"{read}: its log has no entry up to there"
        elif read.position != state.position or read.balance != state.balance:
            yield f"{read}: its log has {state}"
        elif read.held is not None and read.held != state.held:
            yield f"{read}: {read.held} was held, and its log has {state}"


def strong_reads_are_newest(evidence: Evidence) -> Iterator[str]:
    """A strong read is as new as all that any client knew before it was sent: real-time order."""
    strong = [read for read in evidence.reads if read.consistency == "strong"]
    known = newest_before(evidence.sightings, [(read.attempt.began_us, read.account) for read in strong])
    for read, newest in zip(strong, known, strict=True):
        if read.position < newest:
            yield f"{read}: position {newest} was known before it was sent"


def min_positions_are_reached(evidence: Evidence) -> Iterator[str]:
    """A read with a `min_position` has all entries of its account up to that position."""
    for read in evidence.reads:
        if read.consistency == "min_position":
            state = evidence.state_at(read.account, read.min_position)
            if state is not None and read.position < state.position:
                yield f"{read}: with min_position {read.min_position} it must have position {state.position}"


def past_reads_are_exact(evidence: Evidence) -> Iterator[str]:
    """A read at a past time has all entries of its account that were recorded before then, and none after."""
    for read in evidence.reads:
        if read.at is None:
            continue
        states = evidence.states.get(read.account, [])
        before = bisect_left(states, read.at, key=lambda state: state.recorded_at)
        until = bisect_right(states, read.at, key=lambda state: state.recorded_at)
        # A log may go on at the very time that was asked for.
        possible = [0] if not before else []
        possible += [state.position for state in states[max(before - 1, 0) : until]]
        if read.position not in possible:
            yield f"{read}: at {read.at} its newest position was one of {possible}"


def no_read_steps_back(evidence: Evidence) -> Iterator[str]:
    """Who asks a server that has answered with a position of an account gets that one or a newer one.

    It holds for as long as the server's process lives, whatever happens to the cache meanwhile. A client that changes
    servers sends `min_position`: see `min_positions_are_reached`. So does one that asks a load balancer.
    """
    balancers = evidence.history.balancers
    reads = [
        read
        for read in evidence.reads
        if read.consistency != "at" and read.attempt.invoked.server not in balancers
    ]
    places = [_place(read, evidence) for read in reads]
    sightings = [
        Sighting(read.attempt.ended_us or 0, place, read.position)
        for read, place in zip(reads, places, strict=True)
    ]
    asked = [(read.attempt.began_us, place) for read, place in zip(reads, places, strict=True)]
    for read, newest in zip(reads, newest_before(sightings, asked), strict=True):
        if read.position < newest:
            yield f"{read}: {read.attempt.invoked.server} had answered with position {newest} before"


def fast_reads_are_recent(evidence: Evidence) -> Iterator[str]:
    """A fast read was the newest balance within the last ten seconds, as the documentation promises."""
    age_us = int(AGE_SECONDS_MAX * 1_000_000)
    fast = [read for read in evidence.reads if read.consistency == "fast"]
    known = newest_before(
        evidence.sightings, [(read.attempt.began_us - age_us, read.account) for read in fast]
    )
    for read, newest in zip(fast, known, strict=True):
        if read.position < newest:
            yield f"{read}: position {newest} was known {AGE_SECONDS_MAX:.0f} s before"


def _place(read: BalanceRead, evidence: Evidence) -> tuple[str, int, str]:
    """An account at one life of a server's process."""
    server = read.attempt.invoked.server
    life = sum(
        fault.restarts and fault.target == server and fault.began_us <= read.attempt.began_us
        for fault in evidence.history.faults
    )
    return server, life, read.account
