"""The lock in etcd that makes a machine the primary of its shard."""

from base64 import b64encode

from tallystick.cluster.asking import ask_json
from tallystick.cluster.plan import ETCD_PORT, Machine, Plan
from tallystick.cluster.settings.patroni import NAMESPACE, scope_of


def release_lock(plan: Plan, shard: int, machine: Machine) -> bool:
    """Give the lock of a machine up for it, so that another one becomes the primary at once.

    Only for a machine on which PostgreSQL and Patroni are known to have ended. Returns whether it had the lock.
    """
    key = _encoded(f"{NAMESPACE}{scope_of(shard)}/leader")
    for coordinator in plan.coordinators:
        url = f"http://{coordinator.at(ETCD_PORT)}/v3/kv"
        found = ask_json(f"{url}/range", {"key": key})
        if found is None or "header" not in found:
            continue
        locks = [one for one in found.get("kvs", []) if one["value"] == _encoded(machine.name)]
        if not locks:
            return False
        # Only this very lock: the request may arrive late, when the machine has a new one.
        same = {
            "key": key,
            "target": "MOD",
            "result": "EQUAL",
            "mod_revision": locks[0]["mod_revision"],
        }
        body = {"compare": [same], "success": [{"request_delete_range": {"key": key}}]}
        answer = ask_json(f"{url}/txn", body)
        if answer is not None and "header" in answer:
            return bool(answer.get("succeeded"))
    return False


def _encoded(text: str) -> str:
    return b64encode(text.encode("utf-8")).decode("ascii")
