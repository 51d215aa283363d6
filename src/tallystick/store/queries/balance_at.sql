-- The balance as recorded at a past time: the newest batch of that time, and the account's newest entry up to it. The
-- query has the order of the whole key: with the position alone the planner may use the index of positions for a busy
-- account, and read back over the entries of all other accounts.
SELECT e.balance, coalesce(e.held_after, 0), e.position
FROM (
    SELECT last_position FROM batches
    WHERE recorded_at <= timestamptz '1970-01-01 00:00:00+00' + $2::bigint * interval '1 microsecond'
    ORDER BY recorded_at DESC, number DESC LIMIT 1
) AS then_newest
CROSS JOIN LATERAL (
    SELECT * FROM entries
    WHERE entries.account >= $1 AND (entries.account, entries.position) <= ($1, then_newest.last_position)
    ORDER BY entries.account DESC, entries.position DESC LIMIT 1
) AS e
