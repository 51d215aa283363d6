SELECT EXISTS (SELECT FROM batches WHERE number = %s AND hash = %s)
