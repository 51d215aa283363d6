"""The settings of a cluster's programs: what keeps acknowledged payments, and what docs/operations says of it."""

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tallystick.cluster.databases import OWNER_ROLE, shard_dsn
from tallystick.cluster.plan import plan_of
from tallystick.cluster.record import Passwords
from tallystick.cluster.settings.etcd import etcd_settings
from tallystick.cluster.settings.haproxy import haproxy_settings
from tallystick.cluster.settings.patroni import patroni_settings
from tallystick.cluster.settings.valkey import cache_address, sentinel_settings, valkey_settings
from tallystick.store.cache.address import read_cache_address

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations"
PLAN = plan_of(Path('/a "quoted" folder'))
PASSWORDS = Passwords(
    superuser="s", replication="r", rewind="w", owner="o/o", login="l", patroni="p", cache="c"
)


def patroni(shard: int = 1, index: int = 0) -> dict[str, Any]:
    text = patroni_settings(PLAN, shard, PLAN.databases[shard][index], PASSWORDS, Path("/programs"))
    settings: dict[str, Any] = json.loads(text)
    return settings


def test_a_commit_waits_for_a_standby_always() -> None:
    """Without `strict`, a primary that has lost its standbys would go on alone."""
    shared = patroni()["bootstrap"]["dcs"]
    assert shared["synchronous_mode"] == "quorum"
    assert shared["synchronous_mode_strict"] is True
    parameters = shared["postgresql"]["parameters"]
    assert [parameters[name] for name in ("fsync", "full_page_writes", "synchronous_commit")] == ["on"] * 3


def test_data_have_checksums() -> None:
    assert "data-checksums" in patroni()["bootstrap"]["initdb"]


def test_the_times_are_the_shortest_that_patroni_allows() -> None:
    shared = patroni()["bootstrap"]["dcs"]
    assert (shared["ttl"], shared["loop_wait"], shared["retry_timeout"]) == (20, 1, 3)
    assert shared["primary_start_timeout"] == 0
    assert shared["failsafe_mode"] is True
    # Patroni refuses others.
    assert shared["loop_wait"] + 2 * shared["retry_timeout"] <= shared["ttl"]


def test_no_password_is_sent_in_the_clear_or_left_out() -> None:
    for line in patroni()["postgresql"]["pg_hba"]:
        assert line.split()[-1] == "scram-sha-256"


def test_the_machines_of_a_shard_have_one_scope_and_names_of_their_own() -> None:
    first, second, other = patroni(1, 0), patroni(1, 1), patroni(2, 0)
    assert first["scope"] == second["scope"] != other["scope"]
    assert first["name"] != second["name"]
    assert first["etcd3"] == other["etcd3"] == {"hosts": [one.at(12379) for one in PLAN.coordinators]}


def test_each_etcd_knows_all_three() -> None:
    members = {json.loads(etcd_settings(PLAN, one))["initial-cluster"] for one in PLAN.coordinators}
    assert len(members) == 1
    assert members.pop().count("http://") == 3


def test_only_the_second_valkey_begins_as_a_replica() -> None:
    master, replica = [valkey_settings(PLAN, one, "secret") for one in PLAN.caches]
    assert "replicaof" not in master
    assert f"replicaof {PLAN.caches[0].address} 16379" in replica
    assert all("requirepass secret" in text and "masterauth secret" in text for text in (master, replica))


def test_two_of_three_sentinels_decide() -> None:
    assert f"monitor tallystick {PLAN.caches[0].address} 16379 2\n" in sentinel_settings(
        PLAN, PLAN.coordinators[0], "secret"
    )


def test_a_folder_with_quotes_is_written_so_that_it_can_be_read() -> None:
    assert 'dir "/a \\"quoted\\" folder/machines/cache-1/work"' in valkey_settings(PLAN, PLAN.caches[0], "c")


def test_the_ledger_reads_the_address_of_the_cache() -> None:
    address = read_cache_address(cache_address(PLAN, "secret"))
    assert address.kind == "sentinel"
    assert address.master == "tallystick"
    assert len(address.hosts) == 3
    assert address.password == address.sentinel_password == "secret"


def test_the_proxy_knows_both_servers_and_tries_the_other_one() -> None:
    text = haproxy_settings(PLAN)
    for machine in PLAN.servers:
        assert f"server {machine.name} {machine.at(18000)}\n" in text
    assert "retry-on conn-failure empty-response" in text
    assert "disable-l7-retry unless METH_GET or { req.fhdr(idempotency-key) -m found }" in text


def test_a_shard_is_found_on_any_of_its_machines() -> None:
    hosts = ",".join(f"{one.address}:15432" for one in PLAN.databases[2])
    assert shard_dsn(PLAN, PASSWORDS, 2, OWNER_ROLE) == (
        f"postgresql://tallystick_owner:o%2Fo@{hosts}/shard_2?target_session_attrs=read-write"
    )


@pytest.mark.parametrize("role", ["postgres", "replicator"])
def test_no_server_connects_as_an_administrator(role: str) -> None:
    with pytest.raises(KeyError):
        shard_dsn(PLAN, PASSWORDS, 1, role)


def test_real_machines_have_the_same_settings() -> None:
    """The page's file, and what a cluster on one machine runs with."""
    page = msgspec.yaml.decode((OPERATIONS / "patroni.yml").read_bytes())
    own = patroni()
    assert page["bootstrap"] == own["bootstrap"]
    for name in ("remove_data_directory_on_rewind_failure", "remove_data_directory_on_diverged_timelines"):
        assert page["postgresql"][name] is own["postgresql"][name] is True
    assert page["watchdog"]["mode"] == "required"


def test_the_page_of_settings_names_each_of_them() -> None:
    text = (OPERATIONS / "settings.md").read_text(encoding="utf-8")
    bootstrap = patroni()["bootstrap"]
    parameters = bootstrap["dcs"].pop("postgresql")["parameters"]
    named = set(re.findall(r"`([a-z_-]+)", text))
    assert {*bootstrap["dcs"], *parameters} - named == set()


def test_the_proxy_of_real_machines_has_the_same_rules() -> None:
    """All but addresses and certificates."""

    def rules(text: str) -> list[str]:
        lines = [line.strip() for line in text.splitlines() if not line.startswith("#")]
        return [line for line in lines if line and not line.startswith(("bind ", "server ", "#"))]

    page = rules((OPERATIONS / "haproxy.cfg").read_text(encoding="utf-8"))
    own = rules(haproxy_settings(PLAN))
    assert page == own[: own.index("frontend statistics")]
