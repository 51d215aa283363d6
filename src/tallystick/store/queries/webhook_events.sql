-- The positions of what an endpoint asked for: after one position, up to another, of its tenant, kinds and owner.
SELECT position FROM transactions AS found
WHERE position > $1 AND position <= $2 AND tenant = $3
    AND (cardinality($4::smallint[]) = 0 OR kind = ANY ($4::smallint[]))
    AND (
        $5::text IS NULL
        OR EXISTS (
            SELECT FROM entries JOIN accounts USING (account)
            WHERE entries.position = found.position AND accounts.tenant = $3 AND accounts.owner = $5
        )
        OR EXISTS (
            SELECT FROM accounts
            WHERE accounts.position = found.position AND accounts.tenant = $3 AND accounts.owner = $5
        )
    )
ORDER BY position LIMIT $6
