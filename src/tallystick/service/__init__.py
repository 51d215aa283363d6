"""The service: what callers may ask for, in their words. The HTTP API and the Python package both stand on it."""
