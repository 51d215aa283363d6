-- The batches that cover positions which were lost before a restore: the last position before them, and their own.
SELECT restorations.batch, coalesce(previous.last_position, 0), covering.last_position, restorations.reason
FROM restorations
JOIN batches AS covering ON covering.number = restorations.batch
LEFT JOIN batches AS previous ON previous.number = restorations.batch - 1
ORDER BY restorations.batch
