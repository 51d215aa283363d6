"""What a run has done: requests by result, payments, faults, and how long no client could pay."""

from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from typing import Any, Final, NamedTuple

from tests.chaos.checks.evidence import Evidence, Sent
from tests.chaos.history import Attempt, Fault, History, Result
from tests.chaos.plan import CROSSING_SHARE

SLOW_SECONDS: Final = 0.5
"""A request that takes as long has noticed something."""
_US: Final = 1_000_000


class Pause(NamedTuple):
    """The longest time around a fault in which no payment of a shard was acknowledged."""

    kind: str
    target: str
    shard: int
    seconds: float


def unnoticed(history: History, faults: Iterable[Fault]) -> list[Fault]:
    """The faults that no client has noticed: no answer was lost or late while they lasted."""
    return [fault for fault in faults if not any(_notices(attempt, fault) for attempt in history.attempts)]


def _notices(attempt: Attempt, fault: Fault) -> bool:
    ended_us = attempt.ended_us
    if ended_us is None or ended_us < fault.began_us or attempt.began_us > fault.ended_us:
        return False
    if fault.target.startswith("http") and attempt.invoked.server != fault.target:
        return False
    # Who hangs up has not waited.
    hung_up = attempt.completed is not None and attempt.completed.error == "hung up"
    late = ended_us - attempt.began_us > SLOW_SECONDS * _US
    return not hung_up and (late or attempt.result is Result.UNKNOWN)


def pauses(evidence: Evidence) -> list[Pause]:
    """For each fault and shard: the longest time without an acknowledged payment that overlaps the fault."""
    times: dict[int, list[int]] = {}
    for sent in evidence.sent:
        shard = _shard_of(sent, evidence)
        for attempt in sent.answers(Result.ACKNOWLEDGED)[:1]:
            if shard is not None and attempt.ended_us is not None:
                times.setdefault(shard, []).append(attempt.ended_us)
    found = []
    for fault in evidence.history.faults:
        for shard, ended in sorted(times.items()):
            longest = max(
                (
                    after - before
                    for before, after in pairwise(sorted(ended))
                    if after > fault.began_us and before < fault.ended_us
                ),
                default=0,
            )
            found.append(Pause(fault.kind, fault.target, shard, longest / _US))
    return found


def _shard_of(sent: Sent, evidence: Evidence) -> int | None:
    """The shard of the payer of a transfer or a hold."""
    account = evidence.final.accounts.get(sent.body.get("source", ""))
    return None if account is None else account.shard


def summary(evidence: Evidence) -> dict[str, Any]:
    """The numbers of a run."""
    attempts = evidence.history.attempts
    sent = evidence.sent
    crossing = [payment for payment in evidence.payments.values() if _crosses(payment.moved, evidence)]
    acknowledged = [one for one in sent if Result.ACKNOWLEDGED in one.results]
    return {
        "requests": len(attempts),
        "results": _counted(attempt.result for attempt in attempts),
        "acknowledged": _counted(one.kind for one in acknowledged),
        "refused": sum(Result.REFUSED in one.results for one in sent),
        "never known": sum(not one.results - {Result.UNKNOWN} for one in sent),
        "sent again": sum(len(one.attempts) > 1 for one in sent),
        "keys with two bodies": sum(len(requests) > 1 for requests in evidence.sent_by_key.values()),
        "hung up": sum(
            attempt.completed is not None and attempt.completed.error == "hung up" for attempt in attempts
        ),
        "payments": _counted(payment.kind for payment in evidence.payments.values()),
        "payments between shards": len(crossing),
        "reads": _counted(read.consistency for read in evidence.reads),
        "holds": _counted(hold.status for hold in evidence.final.holds.values()),
        "faults": _counted(fault.kind for fault in evidence.history.faults),
    }


def lacking(evidence: Evidence) -> list[str]:
    """What a load must have and this one has not: it would have shown little."""
    numbers = summary(evidence)
    wanted: dict[str, list[str]] = {
        "acknowledged": ["transfer", "hold", "capture", "void", "reversal"],
        "reads": ["fast", "strong", "min_position", "at"],
        "holds": ["captured", "voided", "expired"],
        "results": [Result.ACKNOWLEDGED, Result.REFUSED, Result.UNKNOWN],
    }
    found = [
        f"no {name} among {what}"
        for what, names in wanted.items()
        for name in names
        if not numbers[what].get(name)
    ]
    found += [f"nothing was {what}" for what in ("hung up", "sent again") if not numbers[what]]
    transfers = numbers["payments"].get("transfer", 0)
    if numbers["payments between shards"] < transfers * CROSSING_SHARE / 2:
        found.append(f"only {numbers['payments between shards']} of {transfers} transfers crossed")
    return found


def _crosses(moved: dict[str, int], evidence: Evidence) -> bool:
    accounts = evidence.final.accounts
    return len({accounts[account].shard for account in moved if account in accounts}) > 1


def _counted(values: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(map(str, values)).items()))


def by_fault(pauses: Iterable[Pause]) -> dict[str, list[float]]:
    """The seconds of pauses, by kind of fault; where a fault struck one shard, there and elsewhere."""
    found: dict[str, list[float]] = {}
    for pause in pauses:
        where = ""
        if pause.target.startswith("shard "):
            where = ", that shard" if pause.target == f"shard {pause.shard}" else ", the other shard"
        found.setdefault(pause.kind + where, []).append(pause.seconds)
    return found
