-- A key that is not on this shard yet is left out.
INSERT INTO api_key_uses AS present (id, used_at)
SELECT id, $2 FROM api_keys WHERE id = ANY ($1::text[]) ORDER BY id
ON CONFLICT (id) DO UPDATE SET used_at = greatest(present.used_at, excluded.used_at)
