"""A cluster whose machines are network namespaces: the ways between them are cut, and no payment is lost.

Run by `make cluster-test`, and by nothing else: it needs root, and etcd and HAProxy of the system.
"""

import os
import time
from collections.abc import Iterator

import pytest

from tests.cluster.network import own_network
from tests.cluster.running import (
    OTHER_SHARD_SECONDS_MAX,
    SILENT_MACHINE_SECONDS_MAX,
    Cluster,
    expect_nothing_lost,
    payer_of,
    running_cluster,
    tell,
)

OTHER_MACHINE_SECONDS_MAX = 5.0
OUTAGE_OF_ETCD_SECONDS = 30.0
"""Longer than the lock of a primary lasts."""
COORDINATORS = ("etcd-1", "etcd-2", "etcd-3")

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes network namespaces")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with own_network(), running_cluster("10.77.0") as running:
        yield running


@pytest.fixture(autouse=True)
def healthy(cluster: Cluster) -> None:
    """Each test begins with a cluster on which everything runs."""
    cluster.act("mend")
    cluster.wait_until_healthy()


def test_a_primary_that_is_cut_off_loses_nothing(cluster: Cluster) -> None:
    primary = cluster.primary(1)
    with payer_of(cluster, 1) as payer, payer_of(cluster, 2) as other:
        payer.wait_for_new()
        cut_at = time.monotonic()
        cluster.act("cut", primary, "--both")
        payer.wait_for_new()
        gap_seconds, gap_of_other = payer.gap_seconds(cut_at), other.gap_seconds(cut_at)
    tell(f"{primary} cut: {gap_seconds:.1f} s without a payment on shard 1, {gap_of_other:.1f} s on shard 2")
    assert cluster.primary(1) != primary
    expect_nothing_lost(cluster, payer)
    expect_nothing_lost(cluster, other)
    cluster.act("mend")
    tell(f"{primary} mended: healthy after {cluster.wait_until_healthy():.1f} s")
    expect_nothing_lost(cluster, payer)
    assert gap_seconds < SILENT_MACHINE_SECONDS_MAX
    assert gap_of_other < OTHER_SHARD_SECONDS_MAX


def test_a_primary_that_cannot_send_loses_nothing(cluster: Cluster) -> None:
    """It hears the other machines, and none of them hears it."""
    primary = cluster.primary(1)
    with payer_of(cluster, 1) as payer:
        payer.wait_for_new()
        cut_at = time.monotonic()
        cluster.act("cut", primary)
        payer.wait_for_new()
        gap_seconds = payer.gap_seconds(cut_at)
    tell(f"{primary} cannot send: {gap_seconds:.1f} s without a payment on shard 1")
    assert cluster.primary(1) != primary
    expect_nothing_lost(cluster, payer)
    assert gap_seconds < SILENT_MACHINE_SECONDS_MAX


def test_a_primary_without_etcd_goes_on(cluster: Cluster) -> None:
    """It reaches the other machines of its shard, and they agree."""
    primary = cluster.primary(1)
    with payer_of(cluster, 1) as payer:
        payer.wait_for_new()
        cut_at = time.monotonic()
        for coordinator in COORDINATORS:
            # No machine has etcd any more: if another one had it, the primary would have to make room.
            cluster.act("cut", coordinator, "--both")
        time.sleep(OUTAGE_OF_ETCD_SECONDS)
        payer.wait_for_new()
        gap_seconds = payer.gap_seconds(cut_at)
    tell(f"etcd away for {OUTAGE_OF_ETCD_SECONDS:.0f} s: {gap_seconds:.1f} s without a payment on shard 1")
    assert cluster.primary(1) == primary
    expect_nothing_lost(cluster, payer)
    assert gap_seconds < OTHER_MACHINE_SECONDS_MAX
