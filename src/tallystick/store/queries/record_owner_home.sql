-- The shard of an owner that was placed beside another owner. The first record stays.
INSERT INTO owner_homes (tenant, owner, shard) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING
