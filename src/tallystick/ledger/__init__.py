"""The ledger: shards, each with a batcher that writes its log, and the router that finds them."""
