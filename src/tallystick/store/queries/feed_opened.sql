-- Accounts that were opened or changed within a part of the log, with their owners.
SELECT account, tenant, owner FROM accounts WHERE position > $1 AND position <= $2 ORDER BY position
