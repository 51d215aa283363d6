"""PostgreSQL: the only place with SQL, and the only place that knows the driver's errors."""
