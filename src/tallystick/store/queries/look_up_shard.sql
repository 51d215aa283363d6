-- Whether this shard has any account, and the placement that is recorded here.
SELECT EXISTS (SELECT FROM accounts), obj_description('shard'::regclass, 'pg_class')
