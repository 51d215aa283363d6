-- Whether this shard has any account, and the placement that it was told of.
SELECT EXISTS (SELECT FROM accounts), obj_description('shard'::regclass, 'pg_class')
