"""What `tallystick doctor` checks: settings, rights, clocks, room and certificates of an installation.

Each check is a small function with a name. It judges what was found, and says what is wrong and what to do:
`server_checks` and `cache_checks` by what a server says about itself, `file_checks`, `certificates`, and
`shard_checks`, which ask. `installation` runs all of them.
"""
