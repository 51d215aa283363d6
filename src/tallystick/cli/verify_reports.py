"""The results of `tallystick verify`, as text for people and as fields for scripts."""

from collections.abc import Iterable, Mapping
from typing import Final

import click

from tallystick.domain.identifiers import Prefix, format_identifier, shard_of
from tallystick.domain.times import time_of
from tallystick.store.errors import ShardUnavailableError, StoreError
from tallystick.verify.checks.clearing import Pair
from tallystick.verify.checks.lost_crossings import LostCrossing
from tallystick.verify.checks.saga_crossings import OpenCrossing
from tallystick.verify.crossings import CrossingsReport
from tallystick.verify.log import LostPositions, ShardReport
from tallystick.verify.problems import LogProblem, ProblemKind

_SAGAS_PRINTED_MAX: Final = 20


# Text.


def print_shard(report: ShardReport) -> None:
    """Print the result of a shard."""
    size = f"{report.positions:,} positions, {report.batches:,} batches, {report.accounts:,} accounts"
    if report.ok:
        click.echo(f"shard {report.shard}: all is right: {size}, head {report.head_hash.hex()}")
        _print_lost_positions(report.lost)
        return
    click.echo(f"shard {report.shard}: WRONG: {size}")
    for difference in report.schema:
        click.echo(f"  not as `tallystick migrate` makes it, which mends it: {difference}")
    _print_lost_positions(report.lost)
    if report.first_problem is None:
        return
    click.echo(f"  first at {_place(report.first_problem)}: {report.first_problem.detail}")
    firsts = {problem.kind: _place(problem) for problem in reversed(report.problems)}
    _print_counts(report.counts, firsts)


def _print_lost_positions(lost: Iterable[LostPositions]) -> None:
    for one in lost:
        restored_at = time_of(one.restored_at_us).isoformat(timespec="seconds")
        click.echo(
            f"  positions {one.first:,} to {one.last:,} are not used, since the restore of {restored_at} "
            f"({one.reason}; batch {one.batch:,})"
        )


def why_lost(shard: int, error: StoreError) -> str:
    """Why a shard could not be verified, and what to do about it."""
    if isinstance(error, ShardUnavailableError):
        action = "start its database, or correct the configuration"
        return f"shard {shard} cannot be reached ({error}): {action}"
    return f"shard {shard} cannot be verified: {error}"


def print_lost(reason: str) -> None:
    """Print why a shard could not be verified."""
    click.echo(f"error: {reason}", err=True)


def print_crossings(report: CrossingsReport) -> None:
    """Print the result between shards; nothing if there is one shard and no problem."""
    for shard, error in report.lost.items():
        print_lost(why_lost(shard, error))
    for (shard, other_shard), count in sorted(report.not_compared.items()):
        click.echo(
            f"shards {shard} and {other_shard}: {count:,} transfers between them could not be compared"
        )
    if len(report.shards) < 2 and report.ok:  # noqa: PLR2004 - it takes two to cross
        return
    shards = ", ".join(map(str, report.shards))
    size = (
        f"{report.sagas:,} sagas, {report.open_count:,} of them open, {report.halves:,} posted together, "
        f"{len(report.pairs):,} pairs of clearing accounts"
    )
    first = report.first_problem
    if first is None:
        click.echo(f"across shards {shards}: all is right: {size}")
    else:
        shard, problem = first
        click.echo(f"across shards {shards}: WRONG: {size}")
        click.echo(f"  first at {_place(problem)} of shard {shard}: {problem.detail}")
        firsts = {
            problem.kind: f"{_place(problem)} of shard {shard}"
            for shard, problem in reversed(report.problems)
        }
        _print_counts(report.counts, firsts)
    for pair in report.pairs:
        if pair.difference:
            click.echo(f"  {_in_words(pair)}")
    _print_lost_crossings(report)
    for saga in report.open_sagas[:_SAGAS_PRINTED_MAX]:
        click.echo(
            f"  open: {_name(saga.saga)} from shard {shard_of(saga.saga)} to shard "
            f"{', '.join(map(str, saga.payee_shards))}, {saga.stage}: {_amounts(saga.amounts)}"
        )
    if report.open_count > _SAGAS_PRINTED_MAX:
        click.echo(f"  open: {report.open_count - _SAGAS_PRINTED_MAX:,} more")


def _print_lost_crossings(report: CrossingsReport) -> None:
    for lost in report.lost_crossings[:_SAGAS_PRINTED_MAX]:
        what = (
            "the payer has paid, and the payee has nothing"
            if lost.payer_has_paid
            else "the payee has the money, and the payer has it again"
        )
        click.echo(
            f"  lost on shard {lost.lost_on} before its restore: {_name(lost.saga)} from shard "
            f"{shard_of(lost.saga)} to shard {lost.payee_shard}, {_amounts(lost.amounts)}: {what}"
        )
    if report.lost_crossing_count > _SAGAS_PRINTED_MAX:
        click.echo(f"  lost: {report.lost_crossing_count - _SAGAS_PRINTED_MAX:,} more")
    if report.lost_crossings:
        click.echo('  what to do about each: docs/operations/backups.md, "what the others know"')


def _amounts(amounts: Mapping[str, int]) -> str:
    return ", ".join(f"{amount} {asset}" for asset, amount in amounts.items())


def _print_counts(counts: Mapping[ProblemKind, int], firsts: Mapping[ProblemKind, str]) -> None:
    for kind, count in sorted(counts.items()):
        where = f", first at {firsts[kind]}" if kind in firsts else ""
        click.echo(f"  {kind}: {count:,}{where}")


def _in_words(pair: Pair) -> str:
    first, second = pair.shards
    names = ", ".join(_names(pair.crossings))
    more = (
        f" and {pair.crossing_count - len(pair.crossings):,} more"
        if pair.crossing_count > len(pair.crossings)
        else ""
    )
    unexplained = f"; {pair.unexplained} is not explained" if pair.unexplained else ""
    return (
        f"shards {first} and {second} clear {pair.balances[0]} and {pair.balances[1]} {pair.asset} of tenant "
        f"{pair.tenant}: {pair.explained} on its way in {pair.crossing_count:,} transfers: {names}{more}{unexplained}"
    )


def _place(problem: LogProblem) -> str:
    return f"batch {problem.batch}" if problem.position is None else f"position {problem.position}"


def _name(crossing: int) -> str:
    return format_identifier(Prefix.TRANSACTION, crossing)


def _names(crossings: Iterable[int]) -> list[str]:
    return [_name(crossing) for crossing in crossings]


# Fields.


def shard_fields(report: ShardReport) -> dict[str, object]:
    """The result of a shard."""
    first = report.first_problem
    return {
        "shard": report.shard,
        "ok": report.ok,
        "positions": report.positions,
        "batches": report.batches,
        "accounts": report.accounts,
        "head_hash": report.head_hash.hex(),
        "first_problem": None if first is None else _problem_fields(first),
        "problems": report.problem_count,
        "problems_by_kind": _count_fields(report.counts),
        "schema": [str(difference) for difference in report.schema],
        "restorations": [
            {
                "batch": one.batch,
                "lost_first": one.first,
                "lost_last": one.last,
                "restored_at": time_of(one.restored_at_us).isoformat(),
                "reason": one.reason,
            }
            for one in report.lost
        ],
    }


def lost_fields(shard: int, reason: str) -> dict[str, object]:
    """A shard that could not be verified."""
    return {"shard": shard, "ok": False, "not_verified": reason}


def crossings_fields(report: CrossingsReport) -> dict[str, object]:
    """The result between shards. Amounts are strings of minor units."""
    first = report.first_problem
    return {
        "ok": report.ok,
        "shards": report.shards,
        "sagas": report.sagas,
        "posted_together": report.halves,
        "pairs": [_pair_fields(pair) for pair in report.pairs],
        "open_sagas": {
            "count": report.open_count,
            "listed": [_open_fields(saga) for saga in report.open_sagas],
        },
        "lost_before_restores": {
            "count": report.lost_crossing_count,
            "listed": [_lost_crossing_fields(lost) for lost in report.lost_crossings],
        },
        "first_problem": None if first is None else {"shard": first[0], **_problem_fields(first[1])},
        "problems": report.problem_count,
        "problems_by_kind": _count_fields(report.counts),
        "not_compared": [
            {"shards": shards, "transfers": count} for shards, count in sorted(report.not_compared.items())
        ],
    }


def _pair_fields(pair: Pair) -> dict[str, object]:
    return {
        "shards": pair.shards,
        "tenant": pair.tenant,
        "asset": pair.asset,
        "balances": [str(balance) for balance in pair.balances],
        "difference": str(pair.difference),
        "on_its_way": {
            "amount": str(pair.explained),
            "transfers": pair.crossing_count,
            "listed": _names(pair.crossings),
        },
        "unexplained": str(pair.unexplained),
    }


def _open_fields(saga: OpenCrossing) -> dict[str, object]:
    return {
        "saga": _name(saga.saga),
        "from": shard_of(saga.saga),
        "to": saga.payee_shards[0] if len(saga.payee_shards) == 1 else list(saga.payee_shards),
        "tenant": saga.tenant,
        "stage": str(saga.stage),
        "amounts": {asset: str(amount) for asset, amount in saga.amounts.items()},
    }


def _lost_crossing_fields(lost: LostCrossing) -> dict[str, object]:
    return {
        "saga": _name(lost.saga),
        "from": shard_of(lost.saga),
        "to": lost.payee_shard,
        "tenant": lost.tenant,
        "lost_on": lost.lost_on,
        "amounts": {asset: str(amount) for asset, amount in lost.amounts.items()},
    }


def _count_fields(counts: Mapping[ProblemKind, int]) -> dict[str, int]:
    return {str(kind): count for kind, count in sorted(counts.items())}


def _problem_fields(problem: LogProblem) -> dict[str, object]:
    place = {"batch": problem.batch} if problem.position is None else {"position": problem.position}
    return {**place, "kind": str(problem.kind), "detail": problem.detail}
