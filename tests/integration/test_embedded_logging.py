"""What a ledger logs inside an application: on stderr or where the application wants it, and never a secret."""

import subprocess
import sys

CONNECT = """
import asyncio
from tallystick import Ledger, UnavailableError

async def connect():
    try:
        async with Ledger.connect("postgresql://app:hidden@127.0.0.1:9/none"):
            pass
    except UnavailableError:
        pass

asyncio.run(connect())
"""
ALARM = """
import structlog
structlog.get_logger("tallystick").error("ALARM: no cache", address="postgresql://app:hidden@127.0.0.1:9/none")
"""


def run(program: str) -> tuple[str, str]:
    ended = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    return ended.stdout, ended.stderr


def test_stdout_is_the_applications() -> None:
    said, logged = run(CONNECT + ALARM)
    assert not said
    assert "ALARM: no cache" in logged
    assert "hidden" not in logged


def test_an_application_decides_where_its_logging_goes() -> None:
    said, logged = run("import logging, sys\nlogging.basicConfig(stream=sys.stdout)\n" + CONNECT + ALARM)
    assert said.startswith("ERROR:tallystick:event='ALARM: no cache'")
    assert not logged


def test_an_application_that_configured_structlog_keeps_its_way() -> None:
    said, _ = run(
        "import structlog\nstructlog.configure(processors=[structlog.processors.JSONRenderer()])\n"
        + CONNECT
        + ALARM
    )
    assert said.startswith('{"address": ')
