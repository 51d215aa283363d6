"""Two-phase commit of both shards' databases: an option, measured beside sagas.

This folder contains all code that writes in this way, and its SQL. No module imports it; `ways` names it. The code
that reads these transactions is elsewhere, because they stay in the logs.
"""
