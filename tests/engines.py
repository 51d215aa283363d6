"""An engine as every server process has one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tallystick.service.engine import Engine


@asynccontextmanager
async def running(engine: Engine) -> AsyncIterator[Engine]:
    """Start an engine, wait until it can read and write, and stop it at the end."""
    await engine.start()
    try:
        await engine.connected()
        yield engine
    finally:
        await engine.stop()
