"""Reserve, credit, finalize; release when it is refused. Each step is an ordinary command of one shard."""
