"""Attacks on a running server: over loopback, bounded, short in `make test` and at length in `make attack`."""
