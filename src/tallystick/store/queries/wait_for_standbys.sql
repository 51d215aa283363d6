-- Commits of this session wait for the synchronous standbys, whatever its role has set.
SELECT set_config('synchronous_commit', 'on', false)
