"""Two-phase commit of both shards' databases: an option, measured beside sagas."""
