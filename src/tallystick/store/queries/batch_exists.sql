SELECT EXISTS (SELECT FROM batches WHERE number = $1 AND hash = $2)
