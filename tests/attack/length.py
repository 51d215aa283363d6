"""How long an attack goes on."""

import os
from typing import Final

LENGTH: Final = int(os.environ.get("TALLYSTICK_ATTACK_LENGTH", "1"))
"""1 in `make test`: enough to see each attack fail. `make attack` has more of everything."""
