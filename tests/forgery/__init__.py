"""A lively log, and what somebody who may do anything might change in it."""
