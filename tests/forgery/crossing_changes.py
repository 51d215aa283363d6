"""Changes to what two shards say about what crosses between them, and what `verify` must find first, and where.

All are made to fit their own shard as well as may be: entries sum to zero, balances and what is held are computed
again. So most of them only the other shard can tell. Positions are named by what stands there, as
tests/forgery/crossings.py notes them.
"""

from typing import NamedTuple

from tallystick.verify.problems import ProblemKind
from tests.forgery.changes import BALANCES_AGAIN
from tests.forgery.crossings import ONE, TWO


class CrossingChange(NamedTuple):
    """What is changed on which shard, and as what it is found first, at the position of a mark of a shard.

    `between`: no shard alone can tell.
    """

    kind: ProblemKind
    shard: int
    mark: str
    statements: dict[int, tuple[str, ...]]
    between: bool = True


HELD_AGAIN = """
    UPDATE entries SET held_after = nullif(again.held_after, 0)
    FROM (
        SELECT account, position, sum(coalesce(held, 0)) OVER (PARTITION BY account ORDER BY position) AS held_after
        FROM entries
    ) AS again
    WHERE again.account = entries.account AND again.position = entries.position
"""
AGAIN = (BALANCES_AGAIN, HELD_AGAIN)

# The clearing account of the shard whose log is changed.
CLEARING = "(SELECT account FROM accounts WHERE kind = 3)"
KEY_OF = (
    "encode(substr(sha256('\\x00000000'::bytea || 'credit of saga '::bytea || int8send({saga})), 1, 16), "
    "'hex')::uuid"
)
REFUSED_TOO = (
    f"INSERT INTO requests SELECT {KEY_OF.format(saga='SAGA')}, NULL, 3, 91, NULL, 'x', int8send(SAGA)"
)


# A refusal too many on the payees' shard, by whose it says it is, and what it is found as.
REFUSALS: dict[str, tuple[str, ProblemKind]] = {
    "of a saga that is credited": ("paid_again_saga", ProblemKind.CREDIT_REFUSED),
    "of no saga": ("no_saga", ProblemKind.CREDIT_OF_NO_SAGA),
}


def entry(account: str, position: str, amount: int, bound: str = "NULL") -> str:
    """An entry more, in SQL."""
    return f"INSERT INTO entries SELECT {account}, {{{position}}}, {amount}, 0, NULL, NULL, {bound}, 'USD'"


def terms(position: str, old: str, new: str) -> str:
    """Terms with something else in the place of an account or an amount, in SQL."""
    return (
        f"UPDATE sagas SET terms = replace(terms::text, '{old}', '{new}')::json "
        f"WHERE position = {{{position}}} AND terms::text LIKE '%{old}%'"
    )


# What is found at the end of the log, after the position that is wrong.
FOUND_TOO: dict[str, CrossingChange] = {
    "a capture that ends, its hold does not": CrossingChange(
        ProblemKind.HOLD_STUCK,
        ONE,
        "last",
        {ONE: ("DELETE FROM holds WHERE position = {captured_last_end}",)},
        between=False,
    ),
    "an open capture of a hold that was never placed": CrossingChange(
        ProblemKind.SAGA_STUCK,
        ONE,
        "last",
        {ONE: (terms("capturing", ",{placed_open},", ",{local},"),)},
        between=False,
    ),
    "a credit of another amount": CrossingChange(
        ProblemKind.CLEARING_UNEXPLAINED,
        ONE,
        "last",
        {
            TWO: (
                "UPDATE entries SET amount = 2 * amount WHERE position = {paid_again_credit}",
                BALANCES_AGAIN,
            )
        },
    ),
}

CHANGES: dict[str, CrossingChange] = {
    # What the other shard alone can tell.
    "a credit that is missing, a transfer in its place": CrossingChange(
        ProblemKind.CREDIT_MISSING,
        ONE,
        "paid_again_end",
        {
            TWO: (
                "UPDATE transactions SET kind = 10, refers_to = NULL WHERE position = {paid_again_credit}",
                (
                    f"UPDATE entries SET account = {{bank_2}}, bound = NULL "
                    f"WHERE position = {{paid_again_credit}} AND account = {CLEARING}"
                ),
                "DELETE FROM requests WHERE position = {paid_again_credit}",
                BALANCES_AGAIN,
            )
        },
    ),
    "a credit that is doubled": CrossingChange(
        ProblemKind.CREDIT_REPEATED,
        TWO,
        "local_there",
        {
            TWO: (
                "DELETE FROM entries WHERE position = {local_there}",
                (
                    "INSERT INTO entries "
                    "SELECT account, {local_there}, amount, balance, held, held_after, bound, asset "
                    "FROM entries WHERE position = {paid_again_credit}"
                ),
                "UPDATE transactions SET kind = 31, refers_to = {paid_again_saga} WHERE position = {local_there}",
                (
                    "INSERT INTO requests SELECT key, {local_there}, NULL, NULL, NULL, NULL, fingerprint "
                    "FROM requests WHERE position = {paid_again_credit}"
                ),
                BALANCES_AGAIN,
            )
        },
    ),
    "a credit of another amount": CrossingChange(
        ProblemKind.CREDIT_WRONG,
        TWO,
        "paid_again_credit",
        {
            TWO: (
                "UPDATE entries SET amount = 2 * amount WHERE position = {paid_again_credit}",
                BALANCES_AGAIN,
            )
        },
    ),
    "a credit for somebody else": CrossingChange(
        ProblemKind.CREDIT_WRONG,
        TWO,
        "paid_again_credit",
        {
            TWO: (
                "UPDATE entries SET account = {dave} WHERE position = {paid_again_credit} AND amount > 0",
                BALANCES_AGAIN,
            )
        },
    ),
    "one of several payees with more, another with less": CrossingChange(
        ProblemKind.CREDIT_WRONG,
        TWO,
        "split_credit",
        {
            TWO: (
                "UPDATE entries SET amount = 150 WHERE position = {split_credit} AND amount > 0",
                BALANCES_AGAIN,
            )
        },
    ),
    "a saga that was refused, finalized": CrossingChange(
        ProblemKind.CREDIT_MISSING,
        ONE,
        "refused_end",
        {
            ONE: (
                "UPDATE transactions SET kind = 32 WHERE position = {refused_end}",
                (
                    "UPDATE sagas SET status = 2, counterpart = 1, code = NULL, param = NULL, detail = NULL "
                    "WHERE position = {refused_end}"
                ),
                "UPDATE entries SET amount = -600 WHERE position = {refused_end}",
                entry(CLEARING, "refused_end", 600),
                *AGAIN,
            )
        },
    ),
    "a saga that was credited, released": CrossingChange(
        ProblemKind.CREDIT_RELEASED,
        ONE,
        "paid_again_end",
        {
            ONE: (
                "UPDATE transactions SET kind = 33 WHERE position = {paid_again_end}",
                (
                    "UPDATE sagas SET status = 3, counterpart = NULL, code = 91, detail = 'x' "
                    "WHERE position = {paid_again_end}"
                ),
                f"DELETE FROM entries WHERE position = {{paid_again_end}} AND account = {CLEARING}",
                "UPDATE entries SET amount = 0 WHERE position = {paid_again_end}",
                *AGAIN,
            )
        },
    ),
    "terms of another amount": CrossingChange(
        ProblemKind.CREDIT_WRONG,
        TWO,
        "paid_again_credit",
        {
            ONE: (
                terms("paid_again", ",200,", ",100,"),
                "UPDATE entries SET held = 100 WHERE position = {paid_again}",
                "UPDATE entries SET held = held / 2, amount = amount / 2 WHERE position = {paid_again_end}",
                *AGAIN,
            )
        },
    ),
    "terms of another payee": CrossingChange(
        ProblemKind.CREDIT_WRONG,
        TWO,
        "paid_again_credit",
        {ONE: (terms("paid_again", "{carol}", "{dave}"),)},
    ),
    "terms of an open saga that name another shard": CrossingChange(
        ProblemKind.CREDIT_MISPLACED,
        TWO,
        "credited_credit",
        {
            ONE: (
                (
                    "UPDATE sagas SET terms = replace(replace(terms::text, '{dave}', "
                    "({dave} + (1::bigint << 51))::text), '[10,2,', '[10,3,')::json "
                    "WHERE position = {credited}"
                ),
            )
        },
    ),
    "a counterpart that is the credit of another saga": CrossingChange(
        ProblemKind.COUNTERPART_WRONG,
        ONE,
        "paid_again_end",
        {ONE: ("UPDATE sagas SET counterpart = {paid_credit} WHERE position = {paid_again_end}",)},
    ),
    "a saga released without a refusal": CrossingChange(
        ProblemKind.REFUSAL_MISSING,
        ONE,
        "refused_end",
        {TWO: ("DELETE FROM requests WHERE fingerprint = int8send({refused_saga})",)},
    ),
    "a saga released for another reason": CrossingChange(
        ProblemKind.REFUSAL_WRONG,
        ONE,
        "refused_end",
        {ONE: ("UPDATE sagas SET code = 70 WHERE position = {refused_end}",)},
    ),
    "a saga released in other words": CrossingChange(
        ProblemKind.REFUSAL_WRONG,
        ONE,
        "refused_end",
        {ONE: ("UPDATE sagas SET detail = 'x' WHERE position = {refused_end}",)},
    ),
    "a credit of what was never reserved": CrossingChange(
        ProblemKind.CREDIT_OF_NO_SAGA,
        TWO,
        "credited_credit",
        {
            TWO: (
                "UPDATE transactions SET refers_to = {no_saga} WHERE position = {credited_credit}",
                (
                    f"UPDATE requests SET key = {KEY_OF.replace('{saga}', '{no_saga}')}, "
                    "fingerprint = int8send({no_saga}) WHERE position = {credited_credit}"
                ),
            )
        },
    ),
    "a reversal that pays somebody else": CrossingChange(
        ProblemKind.REVERSAL_ELSEWHERE,
        TWO,
        "reversed",
        {
            TWO: (terms("reversed", "{alice}", "{bob}"),),
            ONE: (
                "UPDATE entries SET account = {bob} WHERE position = {reversed_credit} AND amount > 0",
                *AGAIN,
            ),
        },
    ),
    "a received half that is missing, a transaction in its place": CrossingChange(
        ProblemKind.HALF_MISSING,
        ONE,
        "together_split",
        {
            TWO: (
                "UPDATE transactions SET kind = 11, refers_to = NULL WHERE position = {together_split_received}",
                (
                    "UPDATE entries SET account = {bank_2}, bound = NULL "
                    "WHERE position = {together_split_received} AND amount < 0"
                ),
                BALANCES_AGAIN,
            )
        },
    ),
    "a sent half that is missing, a transfer in its place": CrossingChange(
        ProblemKind.HALF_MISSING,
        TWO,
        "together_received",
        {
            ONE: (
                "UPDATE transactions SET kind = 10, refers_to = NULL WHERE position = {together}",
                "UPDATE entries SET account = {bank_1} WHERE position = {together} AND amount > 0",
                BALANCES_AGAIN,
            )
        },
    ),
    "a received half of another amount": CrossingChange(
        ProblemKind.HALVES_DIFFER,
        TWO,
        "together_received",
        {
            TWO: (
                "UPDATE entries SET amount = 2 * amount WHERE position = {together_received}",
                BALANCES_AGAIN,
            )
        },
    ),
    "a received half of another kind": CrossingChange(
        ProblemKind.HALVES_DIFFER,
        TWO,
        "together_received",
        {TWO: ("UPDATE transactions SET kind = 43 WHERE position = {together_received}",)},
    ),
    "a sent half that refers to something else": CrossingChange(
        ProblemKind.HALF_MISSING,
        ONE,
        "together",
        {ONE: ("UPDATE transactions SET refers_to = {local_half} WHERE position = {together}",)},
    ),
    "a reversal of a received half that pays somebody else": CrossingChange(
        ProblemKind.REVERSAL_ELSEWHERE,
        TWO,
        "together_reversed",
        {
            TWO: (terms("together_reversed", "{alice}", "{bob}"),),
            ONE: (
                (
                    "UPDATE entries SET account = {bob} "
                    "WHERE position = {together_reversed_credit} AND amount > 0"
                ),
                *AGAIN,
            ),
        },
    ),
    # What the shard itself can tell.
    "a sent half against the bank": CrossingChange(
        ProblemKind.HALF_WRONG,
        ONE,
        "together",
        {
            ONE: (
                "UPDATE entries SET account = {bank_1} WHERE position = {together} AND amount > 0",
                BALANCES_AGAIN,
            )
        },
        between=False,
    ),
    "a clearing account moved by a transfer": CrossingChange(
        ProblemKind.CLEARING_WRONG,
        TWO,
        "local_there",
        {
            TWO: (
                f"UPDATE entries SET account = {CLEARING} WHERE position = {{local_there}} AND amount > 0",
                BALANCES_AGAIN,
            )
        },
        between=False,
    ),
    "a credit from the bank": CrossingChange(
        ProblemKind.SAGA_WRONG,
        TWO,
        "paid_again_credit",
        {
            TWO: (
                (
                    "UPDATE entries SET account = {bank_2}, bound = NULL "
                    "WHERE position = {paid_again_credit} AND amount < 0"
                ),
                BALANCES_AGAIN,
            )
        },
        between=False,
    ),
    "another account as clearing account": CrossingChange(
        ProblemKind.ACCOUNT_TERMS,
        TWO,
        "opening_clearing",
        {
            TWO: (
                f"UPDATE entries SET account = account + 1 WHERE account = {CLEARING}",
                "UPDATE accounts SET account = account + 1 WHERE kind = 3",
            )
        },
        between=False,
    ),
    "a clearing account of no other shard": CrossingChange(
        ProblemKind.ACCOUNT_TERMS,
        TWO,
        "opening_clearing",
        {TWO: ("UPDATE accounts SET owner = 'clearing with shard 2' WHERE kind = 3",)},
        between=False,
    ),
    "a clearing account without its bound": CrossingChange(
        ProblemKind.ACCOUNT_TERMS,
        TWO,
        "opening_clearing",
        {
            TWO: (
                "UPDATE accounts SET min_balance = NULL WHERE kind = 3",
                f"UPDATE entries SET bound = NULL WHERE account = {CLEARING}",
            )
        },
        between=False,
    ),
    "a saga that ends twice": CrossingChange(
        ProblemKind.SAGA_WRONG,
        ONE,
        "given_up_end",
        {
            ONE: (
                "UPDATE sagas SET saga = {refused} WHERE position = {given_up_end}",
                "UPDATE transactions SET refers_to = {refused} WHERE position = {given_up_end}",
            )
        },
        between=False,
    ),
    "a saga reserved with less than it moves": CrossingChange(
        ProblemKind.SAGA_WRONG,
        ONE,
        "paid_again",
        {ONE: ("UPDATE entries SET held = 100 WHERE position = {paid_again}", HELD_AGAIN)},
        between=False,
    ),
    "a saga finalized with less than its terms": CrossingChange(
        ProblemKind.SAGA_WRONG,
        ONE,
        "paid_again_end",
        {
            ONE: (
                "UPDATE entries SET amount = amount / 2 WHERE position = {paid_again_end}",
                BALANCES_AGAIN,
            )
        },
        between=False,
    ),
    "a saga released with less than was set aside": CrossingChange(
        ProblemKind.SAGA_WRONG,
        ONE,
        "refused_end",
        {ONE: ("UPDATE entries SET held = -500 WHERE position = {refused_end}", HELD_AGAIN)},
        between=False,
    ),
    "terms that take less than they pay": CrossingChange(
        ProblemKind.SAGA_WRONG,
        ONE,
        "paid_again",
        {ONE: (terms("paid_again", "[{carol},200,", "[{carol},300,"),)},
        between=False,
    ),
    "terms that open what they do not pay": CrossingChange(
        ProblemKind.SAGA_WRONG,
        ONE,
        "paid_again",
        {
            ONE: (
                (
                    "UPDATE sagas SET terms = jsonb_set(terms::jsonb, '{{6}}', '[[{bank_2}, \"@fees\", \"USD\"]]')"
                    "::json WHERE position = {paid_again}"
                ),
            )
        },
        between=False,
    ),
    "an account that says it is of a system owner": CrossingChange(
        ProblemKind.ACCOUNT_TERMS,
        TWO,
        "opening_bank_2",
        {TWO: ("UPDATE accounts SET owner = '@fees' WHERE account = {bank_2}",)},
        between=False,
    ),
    "terms that cannot be read": CrossingChange(
        ProblemKind.SAGA_WRONG,
        ONE,
        "paid_again",
        {ONE: ("UPDATE sagas SET terms = '[]' WHERE position = {paid_again}",)},
        between=False,
    ),
    "the end of a saga without its row": CrossingChange(
        ProblemKind.TRANSACTION_SHAPE,
        ONE,
        "paid_again_end",
        {ONE: ("DELETE FROM sagas WHERE position = {paid_again_end}",)},
        between=False,
    ),
    "an end that refers to another saga": CrossingChange(
        ProblemKind.SAGA_WRONG,
        ONE,
        "paid_again_end",
        {ONE: ("UPDATE transactions SET refers_to = {paid} WHERE position = {paid_again_end}",)},
        between=False,
    ),
    "a saga's status": CrossingChange(
        ProblemKind.SAGA_WRONG,
        ONE,
        "paid_again_end",
        {ONE: ("UPDATE sagas SET status = 3 WHERE position = {paid_again_end}",)},
        between=False,
    ),
    "a release without its reason": CrossingChange(
        ProblemKind.SAGA_WRONG,
        ONE,
        "refused_end",
        {ONE: ("UPDATE sagas SET code = NULL WHERE position = {refused_end}",)},
        between=False,
    ),
    "a row of sagas beyond the head": CrossingChange(
        ProblemKind.BEYOND_HEAD,
        ONE,
        "beyond",
        {ONE: ("INSERT INTO sagas (saga, position, status) VALUES ({beyond}, {beyond}, 1)",)},
        between=False,
    ),
    "a credit under another key": CrossingChange(
        ProblemKind.REQUEST_WRONG,
        TWO,
        "paid_again_credit",
        {TWO: ("UPDATE requests SET key = gen_random_uuid() WHERE position = {paid_again_credit}",)},
        between=False,
    ),
    "a credit without a key": CrossingChange(
        ProblemKind.REQUEST_WRONG,
        TWO,
        "paid_again_credit",
        {TWO: ("DELETE FROM requests WHERE position = {paid_again_credit}",)},
        between=False,
    ),
    # Holds that are captured to the other shard, and reversals of what came from there.
    "a hold that stays open while it is captured": CrossingChange(
        ProblemKind.HOLD_WRONG,
        ONE,
        "captured",
        {ONE: ("UPDATE holds SET status = 1 WHERE position = {captured}",)},
        between=False,
    ),
    "a hold that stays open after its last capture": CrossingChange(
        ProblemKind.HOLD_WRONG,
        ONE,
        "captured_last_end",
        {ONE: ("UPDATE holds SET status = 1 WHERE position = {captured_last_end}",)},
        between=False,
    ),
    "a hold that captured more than its saga": CrossingChange(
        ProblemKind.HOLD_WRONG,
        ONE,
        "captured_end",
        {ONE: ("UPDATE holds SET captured = captured + 1 WHERE position = {captured_end}",)},
        between=False,
    ),
    "a hold captured late that is open again": CrossingChange(
        ProblemKind.HOLD_WRONG,
        ONE,
        "late_end",
        {ONE: ("UPDATE holds SET status = 1 WHERE position = {late_end}",)},
        between=False,
    ),
    "a hold captured in vain and late that is open again": CrossingChange(
        ProblemKind.HOLD_WRONG,
        ONE,
        "too_late_end",
        {ONE: ("UPDATE holds SET status = 1 WHERE position = {too_late_end}",)},
        between=False,
    ),
    "a hold captured in vain that is gone": CrossingChange(
        ProblemKind.HOLD_WRONG,
        ONE,
        "captured_in_vain_end",
        {ONE: ("UPDATE holds SET status = 4 WHERE position = {captured_in_vain_end}",)},
        between=False,
    ),
    "a capture of another hold": CrossingChange(
        ProblemKind.HOLD_WRONG,
        ONE,
        "captured",
        {
            ONE: (
                "UPDATE transactions SET refers_to = {placed_in_vain} WHERE position = {captured}",
                terms("captured", ",{placed},", ",{placed_in_vain},"),
            )
        },
        between=False,
    ),
    "a reversal of more than what was left": CrossingChange(
        ProblemKind.REVERSAL_WRONG,
        TWO,
        "reversed_rest",
        {
            TWO: (
                terms("reversed_rest", ",600,", ",700,"),
                "UPDATE entries SET held = 700 WHERE position = {reversed_rest}",
                (
                    "UPDATE entries SET held = -700, amount = -700 "
                    "WHERE position = {reversed_rest_end} AND amount < 0"
                ),
                "UPDATE entries SET amount = 700 WHERE position = {reversed_rest_end} AND amount > 0",
                *AGAIN,
            )
        },
        between=False,
    ),
    "a reversal that was given up, finalized": CrossingChange(
        ProblemKind.REVERSAL_WRONG,
        TWO,
        "reversed_rest",
        {
            TWO: (
                "UPDATE transactions SET kind = 32 WHERE position = {reversed_in_vain_end}",
                (
                    "UPDATE sagas SET status = 2, counterpart = 1, code = NULL, detail = NULL "
                    "WHERE position = {reversed_in_vain_end}"
                ),
                "UPDATE entries SET amount = -600 WHERE position = {reversed_in_vain_end}",
                entry(CLEARING, "reversed_in_vain_end", 600),
                *AGAIN,
            )
        },
        between=False,
    ),
}
