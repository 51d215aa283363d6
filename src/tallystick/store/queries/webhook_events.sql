-- The positions that an endpoint asked for: after one position, up to another, of its tenant, kinds and owner. (Not
-- EXISTS: the planner may then read all of an owner's history first.)
SELECT position FROM transactions AS found
WHERE position > $1 AND position <= $2 AND tenant = $3
    AND (cardinality($4::smallint[]) = 0 OR kind = ANY ($4::smallint[]))
    AND CASE WHEN $5::text IS NULL THEN true ELSE
        (
            SELECT true FROM entries JOIN accounts USING (account)
            WHERE entries.position = found.position AND accounts.tenant = $3 AND accounts.owner = $5 LIMIT 1
        ) IS TRUE
        OR (
            SELECT true FROM accounts
            WHERE accounts.position = found.position AND accounts.tenant = $3 AND accounts.owner = $5 LIMIT 1
        ) IS TRUE
    END
ORDER BY position LIMIT $6
