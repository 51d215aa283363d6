"""The machine of a run."""

import os
import platform
from pathlib import Path
from typing import Final

from tallystick_bench.result import Machine
from tallystick_bench.target import Target

_CPU_INFORMATION: Final = Path("/proc/cpuinfo")


def machine(target: Target) -> Machine:
    """The machine, and the version of the server."""
    (version,) = target.fetch("server_version")
    return Machine(len(os.sched_getaffinity(0)), _processor(), platform.python_version(), str(version))


def _processor() -> str:
    try:
        lines = _CPU_INFORMATION.read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
