"""Balances are cached by a plain SET: whatever comes last stays, be it older."""

from tallystick.cli.main import main
from tests.cache.planted import plant

plant("plain set")

if __name__ == "__main__":
    main()
