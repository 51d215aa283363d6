-- Sagas by the position that reserved them: their first row, and their newest change.
SELECT
    reserved.saga, coalesce(newest.position, reserved.position), coalesce(newest.status, reserved.status), t.tenant,
    reserved.terms::text, (extract(epoch FROM t.effective_at) * 1000000)::bigint, t.description, t.metadata::text,
    (extract(epoch FROM t.recorded_at) * 1000000)::bigint,
    newest.counterpart, newest.code, newest.param, newest.detail
FROM unnest($1::bigint[]) AS wanted (saga)
CROSS JOIN LATERAL (
    SELECT * FROM sagas WHERE sagas.saga = wanted.saga AND sagas.position = wanted.saga LIMIT 1
) AS reserved
CROSS JOIN LATERAL (SELECT * FROM transactions WHERE transactions.position = wanted.saga LIMIT 1) AS t
LEFT JOIN LATERAL (
    SELECT * FROM sagas WHERE sagas.saga = wanted.saga AND sagas.position > wanted.saga
    ORDER BY sagas.position DESC LIMIT 1
) AS newest ON true
