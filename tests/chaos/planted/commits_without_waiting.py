"""Payments are acknowledged before they are on the disk: what is in the memory of a PostgreSQL that dies is lost."""

from tallystick.cli.main import main
from tallystick.store import connection

connection.SETTINGS["synchronous_commit"] = "off"

if __name__ == "__main__":
    main()
