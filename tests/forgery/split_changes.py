"""Changes to what three shards say about sagas with payees on several of them, and what `verify` must find."""

from typing import Final, NamedTuple

from tallystick.verify.problems import ProblemKind
from tests.crash.two_shards import AWAY, FURTHER, HOME
from tests.forgery.changes import BALANCES_AGAIN
from tests.forgery.crossing_changes import HELD_AGAIN


class SplitChange(NamedTuple):
    """Which shard is changed, how, and what is found: on that shard alone, or only between shards."""

    shard: int
    statements: tuple[str, ...]
    kind: ProblemKind
    between: bool


def _moved(owner: str, amount: int) -> str:
    return (
        f"UPDATE entries SET amount = amount + {amount} WHERE position = {{paid_32}} "
        f"AND account = (SELECT account FROM accounts WHERE owner = '{owner}')"
    )


CLEARING: Final = "(SELECT account FROM accounts WHERE kind = 3 AND owner = 'clearing with shard 1')"
CHANGES: Final[dict[str, SplitChange]] = {
    "a promise of another amount": SplitChange(
        AWAY,
        (
            "UPDATE entries SET amount = 2 * amount, held = 2 * held WHERE position = {paid_34}",
            "UPDATE entries SET held = 2 * held WHERE position = {paid_35}",
            BALANCES_AGAIN,
            HELD_AGAIN,
        ),
        ProblemKind.CREDIT_WRONG,
        True,
    ),
    "a promise that was never confirmed": SplitChange(
        FURTHER,
        (
            "UPDATE transactions SET kind = 36 WHERE position = {paid_35}",
            "UPDATE entries SET amount = held WHERE position = {paid_35}",
            "INSERT INTO entries SELECT " + CLEARING + ", {paid_35}, 100, 0, NULL, NULL, NULL, 'USD'",
            BALANCES_AGAIN,
            HELD_AGAIN,
        ),
        ProblemKind.CREDIT_MISSING,
        True,
    ),
    "a promise that was confirmed and not revoked": SplitChange(
        AWAY,
        (
            "UPDATE transactions SET kind = 35 WHERE position = {undone_36}",
            "DELETE FROM entries WHERE position = {undone_36} AND amount > 0",
            "UPDATE entries SET amount = 0 WHERE position = {undone_36}",
            BALANCES_AGAIN,
            HELD_AGAIN,
        ),
        ProblemKind.CREDIT_RELEASED,
        True,
    ),
    "a refusal that is missing": SplitChange(
        FURTHER,
        ("DELETE FROM requests WHERE fingerprint = int8send({undone}) AND position IS NULL",),
        ProblemKind.REFUSAL_MISSING,
        True,
    ),
    "a promise of no saga": SplitChange(
        AWAY,
        (
            "UPDATE transactions SET refers_to = refers_to + 1000 WHERE position IN ({half_34})",
            "DELETE FROM requests WHERE position = {half_34}",
            (
                "INSERT INTO requests SELECT encode(substr(sha256('\\x00000000'::bytea || 'credit of saga '::bytea "
                "|| int8send({half} + 1000)), 1, 16), 'hex')::uuid, {half_34}, NULL, NULL, NULL, NULL, "
                "int8send({half} + 1000)"
            ),
        ),
        ProblemKind.CREDIT_OF_NO_SAGA,
        True,
    ),
    "a reason that no shard gave": SplitChange(
        HOME,
        ("UPDATE sagas SET code = 80 WHERE position IN ({refused_37}, {refused_33})",),
        ProblemKind.REFUSAL_WRONG,
        True,
    ),
    "a saga that is settled and was never confirmed": SplitChange(
        AWAY,
        (
            "DELETE FROM requests WHERE position = {paid_35}",
            "UPDATE transactions SET kind = 34, refers_to = refers_to + 1000 WHERE position = {paid_35}",
        ),
        ProblemKind.SAGA_WRONG,
        False,
    ),
    "a promise that may be spent": SplitChange(
        AWAY,
        ("UPDATE entries SET held = NULL WHERE position = {half_34}", HELD_AGAIN),
        ProblemKind.SAGA_WRONG,
        False,
    ),
    "the end of a promise under another key": SplitChange(
        AWAY,
        ("UPDATE requests SET key = gen_random_uuid() WHERE position = {paid_35}",),
        ProblemKind.REQUEST_WRONG,
        False,
    ),
    "a saga that is given up and finalized": SplitChange(
        HOME,
        (
            "UPDATE transactions SET kind = 37 WHERE position = {paid_38}",
            "UPDATE sagas SET status = 4, code = 91, detail = 'x' WHERE position = {paid_38}",
        ),
        ProblemKind.SAGA_WRONG,
        False,
    ),
    "a saga that is released and was not given up": SplitChange(
        HOME,
        (
            "DELETE FROM sagas WHERE position = {undone_37}",
            "UPDATE transactions SET kind = 2, refers_to = NULL WHERE position = {undone_37}",
        ),
        ProblemKind.SAGA_WRONG,
        False,
    ),
    "what left for one shard cleared with another": SplitChange(
        HOME,
        (
            _moved("clearing with shard 2", 1),
            _moved("clearing with shard 3", -1),
            BALANCES_AGAIN,
        ),
        ProblemKind.SAGA_WRONG,
        False,
    ),
}
