"""`make audit`: what is weak in the code or known of a package fails it, and a network that is away does not."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

AUDIT = Path(__file__).parents[2] / "requirements" / "audit.py"
CLOSED = "http://127.0.0.1:9"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "harmless.py").write_text("print(1)\n")
    return tmp_path


def audit(folder: Path, *options: str, proxy: str = "") -> subprocess.CompletedProcess[str]:
    # Both spellings are looked at, and those of this machine must not have a say.
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return subprocess.run(
        [sys.executable, AUDIT, folder, f"--cache-dir={folder / 'cache'}", *options],
        capture_output=True, text=True, check=False, env={**kept, "HTTPS_PROXY": proxy, "NO_PROXY": ""},
    )  # fmt: skip


@contextmanager
def service(known: dict[str, list[dict[str, Any]]]) -> Iterator[str]:
    """A service that answers as OSV does, with what is known of each package."""

    class Answering(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            body = json.dumps({"vulns": known.get(asked["package"]["name"], [])}).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1/query"
        finally:
            server.shutdown()
            thread.join()


def test_weak_code_fails(folder: Path) -> None:
    (folder / "weak.py").write_text("import os\nos.system(input())\n")
    done = audit(folder, proxy=CLOSED)
    assert done.returncode == 1
    assert "B605" in done.stderr


@pytest.mark.slow
def test_without_a_network_it_says_so_and_does_not_fail(folder: Path) -> None:
    done = audit(folder, proxy=CLOSED)
    assert done.returncode == 0, done.stderr
    assert "pip-audit: SKIPPED, for its service cannot be asked from here" in done.stderr


@pytest.mark.slow
def test_a_vulnerable_package_fails_and_is_named(folder: Path) -> None:
    known = {
        "id": "PYSEC-2026-1", "aliases": [], "summary": "bad", "published": "2026-01-01T00:00:00Z",
        "affected": [{"package": {"name": "falcon", "ecosystem": "PyPI"},
                      "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "99"}]}]}],
    }  # fmt: skip
    with service({}) as url:
        done = audit(folder, "--vulnerability-service=osv", f"--osv-url={url}")
        assert done.returncode == 0, done.stderr
        assert "nothing known against" in done.stderr
    with service({"falcon": [known]}) as url:
        done = audit(folder, "--vulnerability-service=osv", f"--osv-url={url}")
        assert done.returncode == 1
        assert "PYSEC-2026-1, mended in 99" in done.stderr


@pytest.mark.slow
def test_what_fails_for_another_reason_fails(folder: Path) -> None:
    done = audit(folder, "--no-such-option", proxy=CLOSED)
    assert done.returncode == 1
    assert "pip-audit: it failed" in done.stderr
