-- The sum of all entries after a position, by asset. It is zero unless money was made or lost.
SELECT count(*) FROM (
    SELECT FROM entries WHERE position > %s GROUP BY asset HAVING sum(amount) <> 0
) AS unbalanced
