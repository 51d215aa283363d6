"""`tallystick bench`: how fast this machine is, and how that compares with what PostgreSQL alone can do on it.

Loads (`engine`, `http`, `http-batch`) and baselines (`copy`, `rows`) take turns in slices of one run on one
PostgreSQL server, so that a ratio compares figures that were taken under the same noise.
"""
