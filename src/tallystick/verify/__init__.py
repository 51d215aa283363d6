"""Verification of the log: the checks of `tallystick verify`, by name, and the streams of rows that they read.

Nothing here posts, and nothing here uses the rules that decided the log. So a mistake in the rules is found here.
To audit the checks, read them in the order of this list. The first line of each docstring says what a check proves.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from tallystick.verify.checks import saga_crossings, split_crossings, state, transactions
from tallystick.verify.checks.accounts import Accounts
from tallystick.verify.checks.chain import Chain
from tallystick.verify.checks.clearing import clearing_accounts_mirror
from tallystick.verify.checks.entries import ENTRY_CHECKS
from tallystick.verify.checks.half_crossings import HalfCrossings
from tallystick.verify.checks.holds import Holds
from tallystick.verify.checks.requests import Requests
from tallystick.verify.checks.reversals import reversals_give_back_no_more, reversals_pay_those_who_paid
from tallystick.verify.checks.sagas import Sagas
from tallystick.verify.checks.sides import Promises, Sides
from tallystick.verify.problems import ProblemKind as Kind


class Check(NamedTuple):
    """A check: a function, or a class if it keeps state; and the kinds of problems that it finds."""

    judge: Callable[..., object]
    finds: tuple[Kind, ...]


# Checks of one shard.
SHARD_CHECKS: Final[tuple[Check, ...]] = (
    Check(
        Chain,
        (
            Kind.BATCH_MISSING,
            Kind.BATCH_REPEATED,
            Kind.BATCH_POSITION,
            Kind.BATCH_TIME,
            Kind.BATCH_PREVIOUS_HASH,
            Kind.BATCH_HASH,
        ),
    ),
    Check(transactions.positions_are_gapless, (Kind.POSITION_MISSING, Kind.POSITION_REPEATED)),
    Check(transactions.times_are_those_of_the_batch, (Kind.TRANSACTION_TIME,)),
    Check(transactions.rows_fit_the_kind, (Kind.TRANSACTION_KIND, Kind.TRANSACTION_SHAPE)),
    Check(transactions.entries_sum_to_zero, (Kind.TRANSACTION_UNBALANCED,)),
    Check(transactions.only_holds_set_money_aside, (Kind.TRANSACTION_SHAPE,)),
    Check(transactions.rows_have_a_transaction, (Kind.ROW_WITHOUT_TRANSACTION,)),
    Check(transactions.nothing_stands_beyond_the_head, (Kind.BEYOND_HEAD,)),
    Check(Accounts, (Kind.ACCOUNT_TERMS, Kind.ACCOUNT_UNKNOWN)),
    *(Check(judge, (finds,)) for judge, finds in ENTRY_CHECKS),
    Check(Holds, (Kind.HOLD_WRONG,)),
    Check(Sagas, (Kind.SAGA_WRONG,)),
    Check(Sides, (Kind.SAGA_WRONG, Kind.HALF_WRONG)),
    Check(Promises, (Kind.SAGA_WRONG,)),
    Check(Requests, (Kind.REQUEST_WRONG, Kind.REQUEST_CONTRADICTED)),
    Check(reversals_give_back_no_more, (Kind.REVERSAL_WRONG,)),
    Check(state.held_is_what_is_left, (Kind.HELD_WRONG,)),
    Check(state.open_sagas_can_end, (Kind.SAGA_STUCK,)),
    Check(state.open_holds_can_end, (Kind.HOLD_STUCK,)),
    Check(state.balances_sum_to_zero, (Kind.SHARD_UNBALANCED,)),
)

# Checks between shards.
CROSSING_CHECKS: Final[tuple[Check, ...]] = (
    Check(saga_crossings.credits_are_of_a_saga, (Kind.CREDIT_OF_NO_SAGA,)),
    Check(saga_crossings.plain_sagas_promise_nothing, (Kind.CREDIT_MISPLACED,)),
    Check(
        saga_crossings.credits_move_what_was_agreed,
        (Kind.CREDIT_WRONG, Kind.CREDIT_MISPLACED, Kind.CREDIT_REPEATED),
    ),
    Check(saga_crossings.refusals_stand_alone, (Kind.CREDIT_MISPLACED, Kind.CREDIT_REFUSED)),
    Check(
        saga_crossings.ends_rest_on_the_payees_shard,
        (
            Kind.COUNTERPART_WRONG,
            Kind.CREDIT_MISSING,
            Kind.CREDIT_RELEASED,
            Kind.REFUSAL_MISSING,
            Kind.REFUSAL_WRONG,
        ),
    ),
    Check(split_crossings.split_steps_are_taken_once, (Kind.CREDIT_REPEATED,)),
    Check(split_crossings.split_steps_move_what_was_agreed, (Kind.CREDIT_WRONG,)),
    Check(split_crossings.split_steps_are_on_the_payees_shards, (Kind.CREDIT_MISPLACED,)),
    Check(
        split_crossings.split_steps_follow_the_decision,
        (Kind.CREDIT_REFUSED, Kind.CREDIT_MISSING, Kind.CREDIT_RELEASED, Kind.REFUSAL_MISSING),
    ),
    Check(split_crossings.split_sagas_are_given_up_for_a_reason, (Kind.REFUSAL_WRONG,)),
    Check(HalfCrossings, (Kind.HALF_MISSING, Kind.HALVES_DIFFER)),
    Check(reversals_pay_those_who_paid, (Kind.REVERSAL_ELSEWHERE, Kind.SAGA_WRONG)),
    Check(clearing_accounts_mirror, (Kind.CLEARING_UNEXPLAINED,)),
)

CHECKS: Final = (*SHARD_CHECKS, *CROSSING_CHECKS)
