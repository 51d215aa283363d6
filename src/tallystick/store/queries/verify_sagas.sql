COPY (SELECT saga, position, status, counterpart, code, param, detail, terms FROM sagas ORDER BY position)
TO STDOUT (FORMAT binary)
