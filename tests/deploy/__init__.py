"""What is in deploy/: checked with the programs that read it, where they are installed."""
