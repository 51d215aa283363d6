"""HAProxy in front of servers of a test, with the settings of docs/operations/haproxy.cfg."""

import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.crash.api_server import ApiServer
from tests.ports import HOST, own_port
from tests.upgrade.versions import ROOT

PROGRAM: Final = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin")
_SETTINGS: Final = ROOT / "docs/operations/haproxy.cfg"


class Front:
    """The address of the proxy, for clients."""

    def __init__(self, api_key: str) -> None:
        self.port = own_port()
        self.api_key = api_key


@contextmanager
def proxy(folder: Path, servers: Sequence[ApiServer]) -> Iterator[Front]:
    """HAProxy in front of these servers; it ends with the block."""
    assert PROGRAM is not None
    front = Front(servers[0].api_key)
    text = _SETTINGS.read_text(encoding="utf-8")
    text, bound = re.subn(r"bind \S+ ssl .*", f"bind {HOST}:{front.port}", text)
    ports = iter(servers)
    text, served = re.subn(
        r"(server api-\d) \S+", lambda found: f"{found[1]} {HOST}:{next(ports).port}", text
    )
    assert (bound, served) == (1, len(servers))
    path = folder / "haproxy.cfg"
    path.write_text(text, encoding="utf-8")
    with (folder / "haproxy.log").open("wb") as log:
        process = subprocess.Popen(
            [PROGRAM, "-db", "-f", path], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        try:
            yield front
        finally:
            process.terminate()
            process.wait(10)
