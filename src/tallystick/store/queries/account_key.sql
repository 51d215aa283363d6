-- What the accounts that the ledger opens by itself follow from, and up to which position they did not yet.
SELECT key, since_position FROM account_key
