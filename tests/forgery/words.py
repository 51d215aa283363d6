"""Changes to a log in SQL, and the words that one problem alone is told in.

Nothing is said of where: many of these break other rules as well.
"""

from tests.forgery.changes import batch

IN_WORDS: dict[str, tuple[str, ...]] = {
    "belongs to shard 2, not to shard 1": (
        "UPDATE accounts SET account = account + (1::bigint << 51) WHERE owner = 'carol'",
    ),
    "is of tenant 2, its transaction of tenant 1": ("UPDATE accounts SET tenant = 2 WHERE owner = 'carol'",),
    "has min_balance 501 above max_balance 500": (
        "UPDATE accounts SET min_balance = 501 WHERE owner = 'capped' AND max_balance = 500",
    ),
    "has the unknown status 9": ("UPDATE accounts SET status = 9 WHERE owner = 'carol'",),
    "is opened a second time": (
        (
            "UPDATE accounts SET account = bob.account "
            "FROM accounts AS bob WHERE bob.owner = 'bob' AND accounts.owner = 'carol'"
        ),
    ),
    "is changed, but was never opened": (
        "UPDATE accounts SET account = account + 1 WHERE position = {unfreezing}",
    ),
    "must have its number": ("UPDATE holds SET hold = 1 WHERE position = {placed_open}",),
    "is placed a second time": ("UPDATE holds SET hold = {placed_open} WHERE position = {placed_late}",),
    "has 1 captured when it is placed": ("UPDATE holds SET captured = 1 WHERE position = {placed}",),
    "is of 0, which is not more than zero": ("UPDATE holds SET amount = 0 WHERE position = {placed}",),
    "has one account as source and destination": (
        "UPDATE holds SET destination = account WHERE position = {placed}",
    ),
    "which was never opened": ("UPDATE holds SET destination = 1 WHERE position = {placed}",),
    "pays an account of another tenant or asset": (
        (
            "UPDATE holds SET destination = (SELECT account FROM accounts WHERE owner = 'desk') "
            "WHERE position = {placed}"
        ),
    ),
    "changes in a transaction that refers to": (
        "UPDATE transactions SET refers_to = {placed_open} WHERE position = {captured}",
    ),
    "which never change": ("UPDATE holds SET amount = amount + 1 WHERE position = {captured}",),
    "is open, although nothing is left of it": (
        "UPDATE holds SET captured = amount WHERE position = {captured}",
    ),
    "is released, but its captured amount changes from 0 to 5": (
        "UPDATE holds SET captured = 5 WHERE position = {voided}",
    ),
    "expires before its time": (
        "UPDATE holds SET expires_at = expires_at + interval '1 day' WHERE hold = {placed_to_expire}",
    ),
    "is captured or voided after its time": (
        "UPDATE holds SET expires_at = expires_at - interval '30 days' WHERE hold = {placed_to_void}",
    ),
    "of 900 has 901 captured after 200": (
        "UPDATE holds SET captured = 901 WHERE position = {captured_more}",
    ),
    "is left of its open holds": ("UPDATE holds SET amount = amount + 1 WHERE position = {placed_open}",),
    "there is a transaction at 3 where none may be": (
        "UPDATE transactions SET position = 3 WHERE position = {last}",
    ),
    "there is a batch of this number where none may be": (
        f"UPDATE batches SET number = number - 1 WHERE number = {batch('last')}",
    ),
    "ends at position 2, the batch before it at": (
        f"UPDATE batches SET last_position = 2 WHERE number = {batch('last')}",
    ),
    "was refused as well": ("UPDATE requests SET code = 80 WHERE position = {transfer}",),
    "two requests claim this position": (
        "UPDATE requests SET position = {transfer} WHERE position = {many}",
    ),
    "there is no such batch": ("UPDATE requests SET batch = NULL WHERE batch IS NOT NULL",),
    "cannot be reversed": ("UPDATE transactions SET kind = 12, refers_to = 1 WHERE position = {transfer}",),
    "is partial, and the original has more than two entries": (
        "UPDATE transactions SET kind = 12, refers_to = {exchange} WHERE position = {undone}",
    ),
    "to zero": ("UPDATE entries SET amount = NULL WHERE position = {transfer} AND amount > 0",),
    "the entry says 0": ("UPDATE entries SET balance = NULL WHERE position = {transfer}",),
    "only a hold sets something aside": ("UPDATE entries SET amount = 0 WHERE position = {transfer}",),
}
