-- The balance by effective time. It sums the account's whole history, so the cost grows with that. Entries up to an
-- earlier effective time alone may sum to more than a bigint, so the sum is numeric.
SELECT coalesce(sum(e.amount), 0), coalesce(max(e.position), 0)
FROM entries AS e
JOIN transactions AS t ON t.position = e.position
WHERE e.account = $1
    AND coalesce(t.effective_at, t.recorded_at)
        <= timestamptz '1970-01-01 00:00:00+00' + $2::bigint * interval '1 microsecond'
