-- The number of a tenant's accounts. In the order of the index, so that nothing is sorted.
SELECT count(*) FROM (SELECT DISTINCT owner, account FROM accounts WHERE tenant = $1) AS own
