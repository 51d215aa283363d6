"""What users install: the wheel, with extras and without, in environments of its own. `make installed` runs it."""
