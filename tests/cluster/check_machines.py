"""A cluster loses machines, one after the other, and no payment.

Run by `make cluster-test`, and by nothing else: it needs etcd and HAProxy of the system, and takes a few minutes.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator

import pytest

from tallystick.cluster.machines import end_all
from tests.cluster.running import (
    OTHER_SHARD_SECONDS_MAX,
    SILENT_MACHINE_SECONDS_MAX,
    Cluster,
    expect_nothing_lost,
    payer_of,
    processes,
    running_cluster,
    standby,
    tell,
)

NETWORK = f"127.{100 + os.getpid() % 100}.{os.getpid() // 100 % 250}"
KILLED_PROCESSES_SECONDS_MAX = 5.0
API_SERVER_SECONDS_MAX = 1.0
OTHER_MACHINE_SECONDS_MAX = 2.0


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with running_cluster(NETWORK) as running:
        yield running


@pytest.fixture(autouse=True)
def healthy(cluster: Cluster) -> None:
    """Each test begins with a cluster on which everything runs."""
    cluster.wait_until_healthy()


def lose_primary(cluster: Cluster, how: str, lose: Callable[[str], None]) -> tuple[str, float]:
    """Lose the primary of shard 1 under payments. Returns its machine, and the time without payments there."""
    primary = cluster.primary(1)
    with payer_of(cluster, 1) as payer, payer_of(cluster, 2) as other:
        payer.wait_for_new()
        other.wait_for_new()
        lost_at = time.monotonic()
        lose(primary)
        payer.wait_for_new()
        gap_seconds, gap_of_other = payer.gap_seconds(lost_at), other.gap_seconds(lost_at)
    tell(
        f"{primary} {how}: {gap_seconds:.1f} s without a payment on shard 1, {gap_of_other:.1f} s on shard 2"
    )
    expect_nothing_lost(cluster, payer)
    expect_nothing_lost(cluster, other)
    assert gap_of_other < OTHER_SHARD_SECONDS_MAX
    return primary, gap_seconds


def lose_another(cluster: Cluster, machine: str) -> float:
    """Switch a machine off while shard 1 is paid on, and on again. Returns the time without payments."""
    with payer_of(cluster, 1) as payer:
        payer.wait_for_new()
        lost_at = time.monotonic()
        cluster.act("off", machine)
        payer.wait_for_new(100)
        gap_seconds = payer.gap_seconds(lost_at)
    tell(f"{machine} off: {gap_seconds:.1f} s without a payment")
    expect_nothing_lost(cluster, payer)
    cluster.act("on", machine)
    return gap_seconds


def test_no_secret_of_the_environment_is_used(cluster: Cluster) -> None:
    cluster.wait_until_said("TALLYSTICK_SHARD_1_DSN is not used")


def test_a_primary_that_is_switched_off_loses_nothing(cluster: Cluster) -> None:
    primary, gap_seconds = lose_primary(cluster, "off", lambda machine: cluster.act("off", machine))
    assert cluster.primary(1) != primary
    cluster.act("on", primary)
    tell(f"{primary} on: healthy after {cluster.wait_until_healthy():.1f} s")
    assert gap_seconds < SILENT_MACHINE_SECONDS_MAX


def test_a_primary_that_is_frozen_loses_nothing(cluster: Cluster) -> None:
    primary, gap_seconds = lose_primary(cluster, "frozen", lambda machine: cluster.act("freeze", machine))
    cluster.act("thaw", primary)
    tell(f"{primary} thawed: healthy after {cluster.wait_until_healthy():.1f} s")
    assert gap_seconds < SILENT_MACHINE_SECONDS_MAX


def test_killed_processes_of_a_primary_are_replaced_sooner(cluster: Cluster) -> None:
    def kill(machine: str) -> None:
        for process in processes(cluster, machine):
            os.kill(process["pid"], signal.SIGKILL)

    _, gap_seconds = lose_primary(cluster, "killed", kill)
    assert gap_seconds < KILLED_PROCESSES_SECONDS_MAX, cluster.said.read_text()


def test_a_primary_whose_patroni_hangs_is_reset(cluster: Cluster) -> None:
    """PostgreSQL goes on meanwhile. If it were left to itself, there would be two primaries for a moment."""
    primary = cluster.primary(1)
    with payer_of(cluster, 1) as payer:
        payer.wait_for_new()
        for process in processes(cluster, primary):
            if process["name"] != "postgres":
                os.kill(process["pid"], signal.SIGSTOP)
        cluster.wait_until_said(f"{primary}: Patroni has not answered for")
        payer.wait_for_new()
    expect_nothing_lost(cluster, payer)


def test_a_standby_that_is_lost_delays_no_payment(cluster: Cluster) -> None:
    assert lose_another(cluster, standby(cluster, 1)) < OTHER_MACHINE_SECONDS_MAX


def test_an_api_server_that_is_lost_is_not_missed(cluster: Cluster) -> None:
    assert lose_another(cluster, "api-1") < API_SERVER_SECONDS_MAX


@pytest.mark.parametrize("machine", ["etcd-1", "cache-1"])
def test_another_machine_is_not_missed(cluster: Cluster, machine: str) -> None:
    assert lose_another(cluster, machine) < OTHER_MACHINE_SECONDS_MAX


def test_payments_outlive_the_end_of_everything(cluster: Cluster) -> None:
    """It comes last: it ends the cluster in each way, and starts it again."""
    with payer_of(cluster, 1) as payer, payer_of(cluster, 2) as other:
        payer.wait_for_new()
        other.wait_for_new()
    os.kill(cluster.pid, signal.SIGKILL)
    cluster.wait_for_end()
    assert cluster.state()["healthy"], "the programs go on without the process that started them"
    assert "processes that an earlier run had left" in cluster.command("down").stdout
    assert end_all(cluster.data / "machines") == 0

    cluster.start()
    expect_nothing_lost(cluster, payer)
    expect_nothing_lost(cluster, other)
    refused = cluster.command("up")
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "is already in use by process" in refused.stderr
    os.kill(cluster.pid, signal.SIGINT)
    assert cluster.wait_for_end() == 0
    assert end_all(cluster.data / "machines") == 0
    assert cluster.command("status").stdout.startswith("The cluster does not run")
    assert cluster.command("down").stdout == "the cluster does not run\n"
