-- Whether this shard has an account of each of these owners, in their order, the shards of owners that were placed
-- beside another owner, and the placement that is recorded here: all as of one moment.
SELECT found.account IS NOT NULL, home.shard, (SELECT obj_description('shard'::regclass, 'pg_class'))
FROM unnest($1::integer[], $2::text[]) WITH ORDINALITY AS wanted (tenant, owner, place)
LEFT JOIN LATERAL (
    SELECT account FROM accounts
    WHERE accounts.tenant = wanted.tenant AND accounts.owner = wanted.owner
    ORDER BY accounts.tenant, accounts.owner, accounts.account LIMIT 1
) AS found ON true
LEFT JOIN owner_homes AS home ON home.tenant = wanted.tenant AND home.owner = wanted.owner
ORDER BY wanted.place
