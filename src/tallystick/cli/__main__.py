"""`python -m tallystick.cli`: how `up` starts the server, whatever is on the PATH."""

from tallystick.cli.main import main

# Workers that are spawned and not forked import this module too.
if __name__ == "__main__":
    main()
