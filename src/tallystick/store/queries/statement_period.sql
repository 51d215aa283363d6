-- What a period of recorded time has of an account: the last position before it, the last one in it ($5 at most), the
-- balances there, and whether it is over: the log has gone on after it, or it ended more than $4 seconds ago. The order
-- of the whole key is as in balance_at.sql.
WITH period AS (
    SELECT
        coalesce((
            SELECT last_position FROM batches
            WHERE recorded_at < timestamptz '1970-01-01 00:00:00+00' + $2::bigint * interval '1 microsecond'
            ORDER BY recorded_at DESC, number DESC LIMIT 1
        ), 0) AS opened,
        least($5::bigint, coalesce((
            SELECT last_position FROM batches
            WHERE recorded_at < timestamptz '1970-01-01 00:00:00+00' + $3::bigint * interval '1 microsecond'
            ORDER BY recorded_at DESC, number DESC LIMIT 1
        ), 0)) AS closed,
        EXISTS (
            SELECT FROM batches
            WHERE recorded_at >= timestamptz '1970-01-01 00:00:00+00' + $3::bigint * interval '1 microsecond'
        ) OR clock_timestamp() - $4::bigint * interval '1 second'
            > timestamptz '1970-01-01 00:00:00+00' + $3::bigint * interval '1 microsecond' AS is_over
)
SELECT period.opened, period.closed, period.is_over, coalesce(opening.balance, 0), coalesce(closing.balance, 0)
FROM period
LEFT JOIN LATERAL (
    SELECT balance FROM entries
    WHERE entries.account >= $1 AND (entries.account, entries.position) <= ($1, period.opened)
    ORDER BY entries.account DESC, entries.position DESC LIMIT 1
) AS opening ON true
LEFT JOIN LATERAL (
    SELECT balance FROM entries
    WHERE entries.account >= $1 AND (entries.account, entries.position) <= ($1, period.closed)
    ORDER BY entries.account DESC, entries.position DESC LIMIT 1
) AS closing ON true
