"""Changes to a log in SQL, and what `verify` must find: where first, and what.

A change names positions by what stands there, as tests/forgery/builder.py notes them.
"""

from typing import NamedTuple

from tallystick.verify.problems import ProblemKind


class Change(NamedTuple):
    """What is changed, and as what it is found first: at the position of a mark, or with the batch that wrote it."""

    mark: str
    kind: ProblemKind
    statements: tuple[str, ...]


def batch(mark: str) -> str:
    """The number of the batch that wrote a position, in SQL. Refusals alone make batches without a position."""
    return f"(SELECT min(number) FROM batches WHERE last_position >= {{{mark}}})"


CREDIT = "amount > 0"
DEBIT = "amount < 0"
BALANCES_AGAIN = """
    UPDATE entries SET balance = again.balance
    FROM (
        SELECT account, position, sum(amount) OVER (PARTITION BY account ORDER BY position) AS balance
        FROM entries
    ) AS again
    WHERE again.account = entries.account AND again.position = entries.position
"""

AT_POSITION: dict[str, Change] = {
    "amounts and balances, so that they fit": Change(
        "transfer",
        ProblemKind.REQUEST_CONTRADICTED,
        ("UPDATE entries SET amount = 2 * amount, balance = balance + amount WHERE position = {transfer}",),
    ),
    "fingerprint of a request": Change(
        "many",
        ProblemKind.REQUEST_CONTRADICTED,
        ("UPDATE requests SET fingerprint = 'x' WHERE position = {many}",),
    ),
    "amount of one entry": Change(
        "transfer",
        ProblemKind.TRANSACTION_UNBALANCED,
        (f"UPDATE entries SET amount = amount + 1 WHERE position = {{transfer}} AND {CREDIT}",),
    ),
    "amounts of both entries, still zero in sum": Change(
        "transfer",
        ProblemKind.BALANCE_WRONG,
        ("UPDATE entries SET amount = 2 * amount WHERE position = {transfer}",),
    ),
    "balance": Change(
        "many",
        ProblemKind.BALANCE_WRONG,
        (f"UPDATE entries SET balance = balance + 1 WHERE position = {{many}} AND {CREDIT}",),
    ),
    "bound": Change(
        "transfer",
        ProblemKind.BOUND_WRONG,
        (f"UPDATE entries SET bound = -100000 WHERE position = {{transfer}} AND {DEBIT}",),
    ),
    "bound taken away": Change(
        "capped",
        ProblemKind.BOUND_WRONG,
        (f"UPDATE entries SET bound = NULL WHERE position = {{capped}} AND {CREDIT}",),
    ),
    "held": Change(
        "placed",
        ProblemKind.HELD_WRONG,
        ("UPDATE entries SET held = held - 1 WHERE position = {placed}",),
    ),
    "held after": Change(
        "captured",
        ProblemKind.HELD_WRONG,
        (f"UPDATE entries SET held_after = held_after + 1 WHERE position = {{captured}} AND {DEBIT}",),
    ),
    "account of an entry": Change(
        "transfer",
        ProblemKind.BALANCE_WRONG,
        (
            (
                "UPDATE entries SET account = (SELECT account FROM accounts WHERE owner = 'carol') "
                f"WHERE position = {{transfer}} AND {CREDIT}"
            ),
        ),
    ),
    "account of an entry, to one that never was": Change(
        "transfer",
        ProblemKind.ACCOUNT_UNKNOWN,
        (f"UPDATE entries SET account = account + 1 WHERE position = {{transfer}} AND {CREDIT}",),
    ),
    "asset of both entries": Change(
        "transfer",
        ProblemKind.ASSET_MISMATCH,
        ("UPDATE entries SET asset = 'EUR' WHERE position = {transfer}",),
    ),
    "a transaction removed with all its rows": Change(
        "many",
        ProblemKind.POSITION_MISSING,
        tuple(
            f"DELETE FROM {table} WHERE position = {{many}}"
            for table in ("transactions", "entries", "requests")
        ),
    ),
    "a transaction removed, its entries left": Change(
        "transfer",
        ProblemKind.POSITION_MISSING,
        ("DELETE FROM transactions WHERE position = {transfer}",),
    ),
    "a transaction moved elsewhere": Change(
        "many",
        ProblemKind.POSITION_MISSING,
        ("UPDATE transactions SET position = 1000000 WHERE position = {many}",),
    ),
    "both entries removed": Change(
        "transfer",
        ProblemKind.TRANSACTION_SHAPE,
        ("DELETE FROM entries WHERE position = {transfer}",),
    ),
    "one entry of several removed": Change(
        "exchange",
        ProblemKind.TRANSACTION_UNBALANCED,
        ("DELETE FROM entries WHERE position = {exchange} AND amount = 1100",),
    ),
    "an entry more": Change(
        "transfer",
        ProblemKind.TRANSACTION_SHAPE,
        (
            (
                "INSERT INTO entries SELECT account, {transfer}, 0, 0, NULL, NULL, NULL, 'USD' "
                "FROM accounts WHERE owner = 'carol'"
            ),
        ),
    ),
    "time of a transaction": Change(
        "many",
        ProblemKind.TRANSACTION_TIME,
        ("UPDATE transactions SET recorded_at = recorded_at - interval '1 day' WHERE position = {many}",),
    ),
    "tenant of a transaction": Change(
        "transfer",
        ProblemKind.TENANT_MISMATCH,
        ("UPDATE transactions SET tenant = 2 WHERE position = {transfer}",),
    ),
    "kind of a transaction": Change(
        "transfer",
        ProblemKind.TRANSACTION_SHAPE,
        ("UPDATE transactions SET kind = 21 WHERE position = {transfer}",),
    ),
    "kind of a transaction, to none": Change(
        "transfer",
        ProblemKind.TRANSACTION_KIND,
        ("UPDATE transactions SET kind = 99 WHERE position = {transfer}",),
    ),
    "what a hold has captured": Change(
        "captured",
        ProblemKind.HOLD_WRONG,
        ("UPDATE holds SET captured = captured - 50 WHERE position = {captured}",),
    ),
    "amount of a hold": Change(
        "placed",
        ProblemKind.HOLD_WRONG,
        ("UPDATE holds SET amount = amount + 1 WHERE position = {placed}",),
    ),
    "status of a hold": Change(
        "voided",
        ProblemKind.HOLD_WRONG,
        ("UPDATE holds SET status = 1 WHERE position = {voided}",),
    ),
    "an ended hold ended again": Change(
        "captured_last",
        ProblemKind.HOLD_WRONG,
        ("UPDATE holds SET hold = {placed_to_void} WHERE position = {captured_last}",),
    ),
    "time at which a hold expired": Change(
        "expired",
        ProblemKind.HOLD_WRONG,
        ("UPDATE holds SET expires_at = expires_at + interval '1 day' WHERE position = {expired}",),
    ),
    "a hold's row removed": Change(
        "captured",
        ProblemKind.TRANSACTION_SHAPE,
        ("DELETE FROM holds WHERE position = {captured}",),
    ),
    "what a reversal refers to": Change(
        "reversed_part",
        ProblemKind.REVERSAL_WRONG,
        ("UPDATE transactions SET refers_to = {placed} WHERE position = {reversed_part}",),
    ),
    "a reversal of what does not exist": Change(
        "reversed_part",
        ProblemKind.REVERSAL_WRONG,
        ("UPDATE transactions SET refers_to = 1000000 WHERE position = {reversed_part}",),
    ),
    "an account's opening removed": Change(
        "opening_carol",
        ProblemKind.TRANSACTION_SHAPE,
        ("DELETE FROM accounts WHERE owner = 'carol'",),
    ),
    "an account opened frozen": Change(
        "opening_carol",
        ProblemKind.ACCOUNT_TERMS,
        ("UPDATE accounts SET status = 2 WHERE owner = 'carol'",),
    ),
    "the last batch's row removed": Change(
        "last",
        ProblemKind.BEYOND_HEAD,
        ("DELETE FROM batches WHERE last_position = {last}",),
    ),
    "the last batch and its rows removed, but not its request": Change(
        "last",
        ProblemKind.REQUEST_WRONG,
        (
            "DELETE FROM batches WHERE last_position = {last}",
            "DELETE FROM transactions WHERE position = {last}",
            "DELETE FROM entries WHERE position = {last}",
        ),
    ),
    "time of a batch": Change(
        "transfer",
        ProblemKind.TRANSACTION_TIME,
        (
            f"UPDATE batches SET recorded_at = recorded_at - interval '1 day' WHERE number = {batch('transfer')}",
        ),
    ),
}

WITH_BATCH: dict[str, Change] = {
    "description": Change(
        "transfer",
        ProblemKind.BATCH_HASH,
        ("UPDATE transactions SET description = 'dinner' WHERE position = {transfer}",),
    ),
    "metadata of a transaction": Change(
        "exchange",
        ProblemKind.BATCH_HASH,
        ("""UPDATE transactions SET metadata = '{{"rate":"1.11"}}' WHERE position = {exchange}""",),
    ),
    "effective time": Change(
        "transfer",
        ProblemKind.BATCH_HASH,
        ("UPDATE transactions SET effective_at = '2020-01-01' WHERE position = {transfer}",),
    ),
    "terms of an account": Change(
        "opening_carol",
        ProblemKind.BATCH_HASH,
        ("UPDATE accounts SET min_balance = -1000 WHERE owner = 'carol'",),
    ),
    "owner of an account": Change(
        "opening_carol",
        ProblemKind.BATCH_HASH,
        ("UPDATE accounts SET owner = 'mallory' WHERE owner = 'carol'",),
    ),
    "a request removed": Change(
        "transfer",
        ProblemKind.BATCH_HASH,
        ("DELETE FROM requests WHERE position = {transfer}",),
    ),
    "a request moved to a position that does not exist": Change(
        "transfer",
        ProblemKind.BATCH_HASH,
        ("UPDATE requests SET position = 1000000 WHERE position = {transfer}",),
    ),
    "a refusal removed": Change(
        "many",
        ProblemKind.BATCH_HASH,
        (
            f"DELETE FROM requests WHERE key = (SELECT key FROM requests WHERE batch = {batch('many')} LIMIT 1)",
        ),
    ),
    "a refusal's code": Change(
        "many",
        ProblemKind.BATCH_HASH,
        (f"UPDATE requests SET code = 70 WHERE batch = {batch('many')}",),
    ),
    "a refusal's code, to none": Change(
        "many",
        ProblemKind.REQUEST_WRONG,
        (f"UPDATE requests SET code = 10 WHERE batch = {batch('many')}",),
    ),
    "hash of a batch": Change(
        "transfer",
        ProblemKind.BATCH_HASH,
        (f"UPDATE batches SET hash = sha256('') WHERE number = {batch('transfer')}",),
    ),
    "previous hash of a batch": Change(
        "transfer",
        ProblemKind.BATCH_PREVIOUS_HASH,
        (f"UPDATE batches SET previous_hash = sha256('') WHERE number = {batch('transfer')}",),
    ),
    "a batch's row removed": Change(
        "many",
        ProblemKind.BATCH_MISSING,
        (f"DELETE FROM batches WHERE number = {batch('many')}",),
    ),
}


# The same with a chain that was made to fit afterwards: what the books themselves tell.

FORGED: dict[str, Change] = {
    "another amount than was asked for, all balances again": Change(
        "transfer",
        ProblemKind.REQUEST_CONTRADICTED,
        ("UPDATE entries SET amount = amount - sign(amount) WHERE position = {transfer}", BALANCES_AGAIN),
    ),
    "amounts doubled, balances not": AT_POSITION["amounts of both entries, still zero in sum"],
    "amounts and balances of one transaction": Change(
        "transfer",
        ProblemKind.REQUEST_CONTRADICTED,
        (
            "UPDATE entries SET amount = 2 * amount, balance = balance + amount WHERE position = {transfer}",
            # Bob's next entry goes on from the old balance; it is made to fit as well.
            "UPDATE entries SET balance = balance + 1250 WHERE position = {capped} AND amount < 0",
        ),
    ),
    "more than there was, all balances again": Change(
        "transfer",
        ProblemKind.BOUND_BROKEN,
        ("UPDATE entries SET amount = 100 * amount WHERE position = {transfer}", BALANCES_AGAIN),
    ),
    "more than max_balance, all balances again": Change(
        "capped",
        ProblemKind.BOUND_BROKEN,
        ("UPDATE entries SET amount = 2 * amount WHERE position = {capped}", BALANCES_AGAIN),
    ),
    "a reversal of more than the original, all balances again": Change(
        "reversed_rest",
        ProblemKind.REVERSAL_WRONG,
        (
            "UPDATE entries SET amount = amount + sign(amount) WHERE position = {reversed_rest}",
            BALANCES_AGAIN,
        ),
    ),
    "a reversal in the wrong direction, all balances again": Change(
        "reversed_part",
        ProblemKind.REVERSAL_WRONG,
        (
            "UPDATE entries SET amount = -amount WHERE position = {reversed_part}",
            "UPDATE entries SET bound = CASE WHEN amount < 0 THEN 0 END WHERE position = {reversed_part}",
            BALANCES_AGAIN,
        ),
    ),
    "bounds loosened": Change(
        "emptied",
        ProblemKind.ACCOUNT_STATUS,
        ("UPDATE accounts SET status = 2 WHERE owner = 'capped' AND status = 1 AND max_balance = 300",),
    ),
    "frozen for longer": Change(
        "unfrozen",
        ProblemKind.ACCOUNT_STATUS,
        ("UPDATE accounts SET status = 2 WHERE position = {unfreezing}",),
    ),
    "terms of an account": Change(
        "transfer",
        ProblemKind.BOUND_WRONG,
        ("UPDATE accounts SET min_balance = -1000 WHERE owner = 'alice' AND asset = 'USD'",),
    ),
    "closed while there was money": Change(
        "emptied",
        ProblemKind.REQUEST_CONTRADICTED,
        ("UPDATE entries SET amount = amount / 2 WHERE position = {emptied}", BALANCES_AGAIN),
    ),
    "owner of an account, once": Change(
        "unfreezing",
        ProblemKind.ACCOUNT_TERMS,
        ("UPDATE accounts SET owner = 'mallory' WHERE position = {unfreezing}",),
    ),
    "a hold that captured more than it held": Change(
        "captured_more",
        ProblemKind.HOLD_WRONG,
        ("UPDATE holds SET captured = 899 WHERE position = {captured_more}",),
    ),
    "a hold that pays somebody else": Change(
        "placed",
        ProblemKind.REQUEST_CONTRADICTED,
        (
            (
                "UPDATE holds SET destination = (SELECT account FROM accounts WHERE owner = 'carol') "
                "WHERE hold = {placed}"
            ),
        ),
    ),
    "a hold that expires later": Change(
        "captured",
        ProblemKind.HOLD_WRONG,
        ("UPDATE holds SET expires_at = expires_at + interval '1 day' WHERE position = {placed}",),
    ),
    "a request moved to a position that does not exist": Change(
        "beyond",
        ProblemKind.REQUEST_WRONG,
        ("UPDATE requests SET position = {beyond} WHERE position = {transfer}",),
    ),
    "two requests for one position": Change(
        "transfer",
        ProblemKind.REQUEST_WRONG,
        (
            """
            UPDATE requests SET position = {transfer},
                fingerprint = (SELECT fingerprint FROM requests WHERE position = {transfer})
            WHERE position = {many}
            """,
        ),
    ),
}


# What is found beside the first problem: each kind of problem that no change above is found as first.
FOUND_TOO: dict[str, Change] = {
    "number of a batch": Change(
        "last",
        ProblemKind.BATCH_REPEATED,
        (f"UPDATE batches SET number = number - 1 WHERE number = {batch('last')}",),
    ),
    "last position of a batch": Change(
        "last",
        ProblemKind.BATCH_POSITION,
        (f"UPDATE batches SET last_position = 2 WHERE number = {batch('last')}",),
    ),
    "time of a batch": Change("transfer", ProblemKind.BATCH_TIME, AT_POSITION["time of a batch"].statements),
    "position of a transaction": Change(
        "last",
        ProblemKind.POSITION_REPEATED,
        ("UPDATE transactions SET position = 3 WHERE position = {last}",),
    ),
    "a transaction removed, its entries left": Change(
        "transfer",
        ProblemKind.ROW_WITHOUT_TRANSACTION,
        AT_POSITION["a transaction removed, its entries left"].statements,
    ),
    "one entry of the last transaction removed": Change(
        "last",
        ProblemKind.SHARD_UNBALANCED,
        ("DELETE FROM entries WHERE position = {last} AND amount > 0",),
    ),
}
