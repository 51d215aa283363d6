"""What work in the background needs: workers, pauses between attempts, and a bound on alarms."""
