-- Where an owner lives that was placed beside another. The first to say so is right.
INSERT INTO owner_homes (tenant, owner, shard) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING
