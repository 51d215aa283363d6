"""Judges of the log: pure checks, and the streams of rows that they read. Nothing here posts."""
