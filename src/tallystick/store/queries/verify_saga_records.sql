-- Each saga that was reserved after a position and up to another, and its changes after that, the newest first.
COPY (
    SELECT
        reserved.saga, t.tenant, reserved.terms, ended.position, ended.status,
        ended.counterpart, ended.code, ended.param, ended.detail
    FROM sagas AS reserved
    JOIN transactions AS t ON t.position = reserved.saga
    LEFT JOIN sagas AS ended ON ended.saga = reserved.saga AND ended.status <> 1
    WHERE reserved.status = 1 AND reserved.saga > %s AND reserved.saga <= %s
    ORDER BY reserved.saga, ended.position DESC
) TO STDOUT (FORMAT binary)
