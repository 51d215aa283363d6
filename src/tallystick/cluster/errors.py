"""Errors of clusters.

- `ClusterError`: a cluster could not be started or used
"""


class ClusterError(Exception):
    """A cluster could not be started or used. The message is one line that says what to do."""
