-- How many accounts a tenant has. In the order of the index, so that nothing is sorted.
SELECT count(*) FROM (SELECT DISTINCT owner, account FROM accounts WHERE tenant = $1) AS own
