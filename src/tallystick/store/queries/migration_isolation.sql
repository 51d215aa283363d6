-- Whatever the database's default is: what another migration has committed is seen as soon as it gives its lock back.
SET TRANSACTION ISOLATION LEVEL READ COMMITTED
