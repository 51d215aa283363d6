"""A cluster as people start it, and a client that pays through HAProxy all the time."""

import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPException
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tallystick.cluster.errors import ClusterError
from tallystick.cluster.machines import end_all
from tallystick.cluster.programs import system_programs
from tallystick.domain.identifiers import Prefix, parse_identifier, shard_of
from tests.acceptance.processes import COMMAND, end_process, environment, request_to, run_anew

READY_SECONDS_MAX = 240.0
STOP_SECONDS_MAX = 120.0
ANSWER_SECONDS_MAX = 5.0
PAUSE_SECONDS = 0.05

# What a lost primary may cost.
SILENT_MACHINE_SECONDS_MAX = 25.0
"""Without a payment on its shard if its machine is gone. Patroni's shortest time is 20 s."""
OTHER_SHARD_SECONDS_MAX = 5.0
"""Without a payment on the other shard. They share the API servers: far less than a failover takes."""


class Cluster:
    """A running `tallystick cluster up` in a folder that every user can pass through."""

    def __init__(self, network: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="tallystick-cluster-", dir="/var/tmp"))
        self.folder.chmod(0o711)
        self.data = self.folder / "data"
        self.network = network
        self.ready: dict[str, Any] = {}
        self.said = self.folder / "said"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it is ready."""
        if self._process is not None and self._process.stdout is not None:
            self._process.stdout.close()
        with self.said.open("ab") as said:
            self._process = subprocess.Popen(
                [*COMMAND, "cluster", "up", "--json", "--data", str(self.data), "--network", self.network],
                # It leads to no server: what reads it serves nothing.
                env=environment(TALLYSTICK_SHARD_1_DSN="postgresql://127.0.0.1:1/not_of_this_cluster"),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=said,
                start_new_session=True,
            )
        assert self._process.stdout is not None
        assert select.select([self._process.stdout], [], [], READY_SECONDS_MAX)[0], self.said.read_text()
        line = self._process.stdout.readline()
        assert line, self.said.read_text()
        self.ready = json.loads(line)

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `tallystick cluster` with these arguments, in the network of this thread.

        A process that is forked is in that of the fork server, which may be older than a network of our own.
        """
        return run_anew("cluster", *arguments, "--data", str(self.data))

    def act(self, *what: str) -> None:
        """Switch a machine off or on, freeze or thaw it, cut it off."""
        done = self.command(*what)
        assert done.returncode == 0, done.stderr

    def wait_until_said(self, words: str, seconds_max: float = 60.0) -> None:
        """Wait until `up` has said this."""
        deadline = time.monotonic() + seconds_max
        while words not in self.said.read_text():
            assert time.monotonic() < deadline, self.said.read_text()
            time.sleep(0.1)

    def state(self) -> dict[str, Any]:
        """Its state now."""
        state: dict[str, Any] = json.loads(self.command("status", "--json").stdout)
        return state

    def primary(self, shard: int) -> str:
        """The machine of a shard's primary."""
        (found,) = [one["primary"] for one in self.state()["shards"] if one["shard"] == shard]
        return str(found)

    def wait_until_healthy(self, seconds_max: float = 120.0) -> float:
        """Wait until everything runs. Returns how long it took."""
        began = time.monotonic()
        while not (state := self.state())["healthy"]:
            assert time.monotonic() < began + seconds_max, (state, self.said.read_text())
            time.sleep(0.5)
        return time.monotonic() - began

    def wait_for_end(self) -> int:
        """Wait for its end; return its exit status."""
        assert self._process is not None
        return self._process.wait(STOP_SECONDS_MAX)

    @property
    def pid(self) -> int:
        """The number of its process."""
        assert self._process is not None
        return self._process.pid

    def end(self) -> None:
        """End it, and kill whatever is left of it."""
        if self._process is not None:
            end_process(self._process, timeout_seconds=STOP_SECONDS_MAX)
            end_all(self.data / "machines")


@contextmanager
def running_cluster(network: str) -> Iterator[Cluster]:
    """A cluster that is ready. At the end it is removed; TALLYSTICK_KEEP=1 keeps its folder."""
    try:
        system_programs()
    except ClusterError as error:
        pytest.skip(str(error))
    cluster = Cluster(network)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.end()
        if not os.environ.get("TALLYSTICK_KEEP"):
            shutil.rmtree(cluster.folder)


class Payment(NamedTuple):
    """An acknowledged payment: its key, its answer, and when it was answered."""

    key: str
    answer: dict[str, Any]
    answered_at: float


def post(ready: Mapping[str, Any], path: str, body: object, key: str) -> tuple[int, dict[str, Any]]:
    """Make one call. A status of 0 means that there was no answer that could be read."""
    request = request_to(ready, "POST", path, body, key=key)
    try:
        with urllib.request.urlopen(request, timeout=ANSWER_SECONDS_MAX) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            try:
                return error.code, json.load(error)
            except ValueError:
                return error.code, {}  # HAProxy's own answer
    except (OSError, HTTPException, ValueError):
        return 0, {}


class Payer:
    """Pays one minor unit again and again. What is not answered is sent again with the same key."""

    def __init__(self, ready: Mapping[str, Any], source: str, destination: str) -> None:
        self._ready = ready
        self.body = {"source": source, "destination": destination, "amount": "1", "asset": ready["asset"]}
        self.payments: list[Payment] = []
        self.refused: list[dict[str, Any]] = []
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._pay, daemon=True)

    def gap_seconds(self, since: float) -> float:
        """The longest time without an answer, after a time of `time.monotonic`."""
        times = [since, *(one.answered_at for one in self.payments if one.answered_at > since)]
        return max(after - before for before, after in pairwise(times))

    def wait_for_new(self, count: int = 20, seconds_max: float = 90.0) -> None:
        """Wait for so many further payments."""
        deadline = time.monotonic() + seconds_max
        wanted = len(self.payments) + count
        while len(self.payments) < wanted:
            assert not self.refused, self.refused
            assert time.monotonic() < deadline, f"{len(self.payments)} of {wanted} payments"
            time.sleep(0.02)

    def _pay(self) -> None:
        while not self._ending.is_set():
            key = uuid.uuid4().hex
            while not self._ending.is_set():
                status, answer = post(self._ready, "/v1/transfers", self.body, key)
                if status in {200, 201}:
                    self.payments.append(Payment(key, answer, time.monotonic()))
                    break
                if status not in {0, 429, 500, 502, 503, 504}:
                    self.refused.append({"status": status, **answer})
                    return
                time.sleep(PAUSE_SECONDS)

    def start(self) -> None:
        """Begin to pay."""
        self._thread.start()

    def end(self) -> None:
        """Pay no more."""
        self._ending.set()
        self._thread.join()


@contextmanager
def payer_of(cluster: Cluster, shard: int) -> Iterator[Payer]:
    """A client that pays on one shard, with money and an account to pay to there."""
    accounts = cluster.ready["accounts"].values()
    destination = next(one for one in accounts if shard_of(parse_identifier(Prefix.ACCOUNT, one)) == shard)
    owner = f"rich of shard {shard}"
    body = {"owner": owner, "asset": cluster.ready["asset"], "kind": "system", "near": destination}
    status, opened = post(cluster.ready, "/v1/accounts", body, owner)
    assert status in {200, 201}, opened
    payer = Payer(cluster.ready, opened["id"], destination)
    payer.start()
    try:
        yield payer
    finally:
        payer.end()


def expect_nothing_lost(cluster: Cluster, payer: Payer) -> None:
    """Each acknowledged payment is there once: its key has the same answer."""
    assert payer.payments
    for payment in payer.payments:
        assert post(cluster.ready, "/v1/transfers", payer.body, payment.key)[1] == payment.answer
    assert len({payment.answer["id"] for payment in payer.payments}) == len(payer.payments)


def tell(what: str) -> None:
    """Show a figure."""
    sys.stdout.write(f"{what}\n")


def processes(cluster: Cluster, machine: str) -> list[dict[str, Any]]:
    """The processes of a machine."""
    (found,) = [one for one in cluster.state()["machines"] if one["machine"] == machine]
    return list(found["processes"])


def standby(cluster: Cluster, shard: int) -> str:
    """A standby of a shard."""
    (found,) = [one for one in cluster.state()["shards"] if one["shard"] == shard]
    return next(str(one["machine"]) for one in found["databases"] if one["machine"] != found["primary"])
