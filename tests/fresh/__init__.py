"""The README, walked on a bare Debian that has never seen Tallystick. See `make fresh`."""
