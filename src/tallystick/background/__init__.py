"""Background work: workers, pauses between attempts, and a limit on alarms."""
