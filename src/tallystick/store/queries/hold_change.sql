-- The newest change of a hold, without the stages of captures that another shard refused (kinds 30 and 33).
SELECT changed.position
FROM holds AS changed
CROSS JOIN LATERAL (SELECT kind FROM transactions WHERE transactions.position = changed.position LIMIT 1) AS t
WHERE changed.hold = $1 AND t.kind NOT IN (30, 33)
ORDER BY changed.position DESC LIMIT 1
