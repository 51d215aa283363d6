-- Whatever the database's default is: the result of another migration is visible as soon as that releases its lock.
SET TRANSACTION ISOLATION LEVEL READ COMMITTED
