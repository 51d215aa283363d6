SELECT batch, reason FROM restorations ORDER BY batch
