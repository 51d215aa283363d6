"""The ways in which a transfer crosses from one shard to another. `ways` names them."""
