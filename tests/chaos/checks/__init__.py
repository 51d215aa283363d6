"""The checks of a run. Each is a pure function of the evidence that yields one line for each violation.

They import nothing of the product: they read a recorded history, and the final state that the public API told.
"""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final

from tests.chaos.checks import holds, money, reads, requests, sagas, views
from tests.chaos.checks.evidence import Evidence

Check = Callable[[Evidence], Iterator[str]]

VIOLATIONS_SHOWN: Final = 10

CHECKS: Final[dict[str, Check]] = {
    check.__name__: check
    for check in (
        money.positions_follow_one_another,
        money.entries_balance,
        money.money_is_conserved,
        money.balances_follow_from_entries,
        money.balances_stay_within_bounds,
        requests.acknowledged_are_there_once,
        requests.answers_are_what_the_log_has,
        requests.refused_are_absent,
        requests.unknown_are_there_once_or_not,
        requests.each_key_has_one_payment,
        requests.each_account_has_one_part,
        requests.repeated_answers_are_equal,
        requests.pending_payments_keep_their_names,
        requests.other_bodies_are_refused,
        requests.nothing_was_unasked,
        reads.reads_existed,
        reads.strong_reads_are_newest,
        reads.min_positions_are_reached,
        reads.past_reads_are_exact,
        reads.no_read_steps_back,
        reads.fast_reads_are_recent,
        holds.holds_are_closed,
        holds.holds_tell_one_story,
        holds.captures_are_paid,
        holds.reversals_stay_within_the_original,
        sagas.sagas_are_closed,
        sagas.credits_match_their_ends,
        views.accounts_are_as_the_log_has_them,
        views.balances_are_as_the_log_has_them,
        views.histories_are_as_the_feed_has_them,
    )
}


def violations(evidence: Evidence) -> dict[str, list[str]]:
    """What each check has found, the first of it; checks that found nothing are left out."""
    found = {name: list(islice(check(evidence), VIOLATIONS_SHOWN)) for name, check in CHECKS.items()}
    return {name: lines for name, lines in found.items() if lines}
