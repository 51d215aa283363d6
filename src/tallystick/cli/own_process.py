"""The process of `tallystick up` and of `tallystick cluster up`, which starts servers as its children."""

import os
from collections.abc import Callable

from tallystick.service.environment import remove_secrets
from tallystick.service.logging import configure_logging


def prepare_process(say: Callable[[str], None]) -> None:
    """Prepare this process and those that it starts. `say` is called with each secret that is not used."""
    # All files made from here on, also by child processes, are closed to other users.
    os.umask(0o077)
    configure_logging(default_level="warning", for_people=True)
    for name in remove_secrets(os.environ):
        say(f"{name} is not used: everything that is started here has secrets of its own")
