-- The balances of a tenant's accounts at a position, summed by a label and the asset: one page, in the order of both.
-- $3 is the kind of label: 0 the owner, 1 the kind of account, 2 the value under the key $4 of the metadata. An
-- account without that key has the label ''; all other labels begin with '='. Clearing accounts ($8) are left out.
SELECT
    labelled.label, labelled.asset, count(*),
    sum(labelled.balance)::text, sum(labelled.held)::text
FROM (
    SELECT
        CASE $3::integer
            WHEN 0 THEN '=' || terms.owner
            WHEN 1 THEN '=' || terms.kind
            ELSE coalesce('=' || (terms.metadata ->> $4::text), '')
        END COLLATE "C" AS label,
        terms.asset COLLATE "C" AS asset, coalesce(newest.balance, 0) AS balance,
        coalesce(newest.held_after, 0) AS held
    FROM (
        SELECT DISTINCT ON (account) account, owner, asset, kind, metadata FROM accounts
        WHERE tenant = $1 AND position <= $2 ORDER BY account, position DESC
    ) AS terms
    LEFT JOIN LATERAL (
        SELECT balance, held_after FROM entries
        WHERE entries.account >= terms.account AND (entries.account, entries.position) <= (terms.account, $2)
        ORDER BY entries.account DESC, entries.position DESC LIMIT 1
    ) AS newest ON true
    WHERE terms.kind <> $8::smallint
) AS labelled
WHERE (labelled.label, labelled.asset) > ($5::text COLLATE "C", $6::text COLLATE "C")
GROUP BY labelled.label, labelled.asset
ORDER BY labelled.label, labelled.asset
LIMIT $7
