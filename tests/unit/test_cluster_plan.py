"""The plan of a cluster and its file: addresses that follow from three values, passwords that are made once."""

import stat
from pathlib import Path

import pytest

from tallystick.cluster.errors import ClusterError
from tallystick.cluster.namespaces import cut
from tallystick.cluster.plan import NETWORK_DEFAULT, plan_of
from tallystick.cluster.record import make_record, read_record


def test_no_two_programs_have_one_address() -> None:
    plan = plan_of(Path("/data"))
    places = [machine.at(port) for machine in plan.machines for port in machine.ports]
    assert len(set(places)) == len(places)
    assert len({machine.name for machine in plan.machines}) == len(plan.machines)


def test_a_shard_is_on_three_machines_and_etcd_too() -> None:
    plan = plan_of(Path("/data"))
    assert [len(machines) for machines in plan.databases.values()] == [3, 3]
    assert len(plan.coordinators) == 3
    assert len(plan.servers) == 2
    assert len(plan.caches) == 2


@pytest.mark.parametrize("network", ["8.8.8", "127.0", "127.0.0.1", "a.b.c", "", "127.77.0.0/24"])
def test_addresses_of_others_are_refused(network: str) -> None:
    with pytest.raises(ClusterError, match="is not the beginning of loopback or private addresses"):
        plan_of(Path("/data"), network=network)


def test_machines_outside_of_loopback_are_namespaces() -> None:
    loopback, namespaces = plan_of(Path("/data")), plan_of(Path("/data"), network="10.77.0")
    assert (loopback.is_loopback, loopback.clients) == (True, "127.0.0.0/8")
    assert (namespaces.is_loopback, namespaces.clients) == (False, "10.77.0.0/24")


def test_loopback_machines_have_no_network_that_can_be_cut() -> None:
    plan = plan_of(Path("/data"))
    with pytest.raises(ClusterError, match=r"begin a cluster in another folder with --network 10\.77\.0"):
        cut(plan, plan.proxy, plan.servers)


def test_a_machine_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(ClusterError, match=r"no machine 'shard9-a': name one of etcd-1, .*shard1-a"):
        plan_of(Path("/data")).machine("shard9-a")


def test_a_record_is_made_once(tmp_path: Path) -> None:
    plan, passwords = make_record(tmp_path, "127.78.0", NETWORK_DEFAULT)
    assert (plan, passwords) == make_record(tmp_path, None, NETWORK_DEFAULT) == read_record(tmp_path)
    assert plan.proxy.address == "127.78.0.10"
    assert len({getattr(passwords, name) for name in passwords.__struct_fields__}) == 7


def test_passwords_are_private_and_not_shown(tmp_path: Path) -> None:
    _, passwords = make_record(tmp_path, None, NETWORK_DEFAULT)
    assert passwords.owner not in repr(passwords)
    assert stat.S_IMODE((tmp_path / "cluster.json").stat().st_mode) == 0o600


def test_other_addresses_than_those_of_the_folder_are_refused(tmp_path: Path) -> None:
    make_record(tmp_path, None, NETWORK_DEFAULT)
    with pytest.raises(ClusterError, match=r"addresses that begin with 127\.77\.0: leave --network out"):
        make_record(tmp_path, "127.78.0", NETWORK_DEFAULT)


def test_a_folder_without_a_cluster_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="start one with tallystick cluster up"):
        read_record(tmp_path)


def test_a_broken_record_is_named(tmp_path: Path) -> None:
    (tmp_path / "cluster.json").write_text("{", encoding="ascii")
    with pytest.raises(ClusterError, match="is not the file of a cluster"):
        read_record(tmp_path)
