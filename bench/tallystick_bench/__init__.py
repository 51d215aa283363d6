"""`tallystick bench`: how fast this machine is, and how that compares with what PostgreSQL alone can do on it.

Loads (`engine`, `http`, `http-batch`) and baselines (`copy`, `rows`) take turns during one run, on one PostgreSQL
server. So a ratio compares figures that were measured under the same noise.
"""
