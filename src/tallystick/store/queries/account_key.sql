-- The inputs for deriving accounts that the ledger opens by itself, and the position since which the key is used.
SELECT key, since_position FROM account_key
