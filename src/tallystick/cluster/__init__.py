"""A cluster that survives the loss of any machine, on one Linux machine: `tallystick cluster`.

It is made of what runs on real machines: PostgreSQL under Patroni, etcd, Valkey with Sentinels, API servers behind
HAProxy. Each machine of the cluster is a loopback address and a folder. docs/operations has the same for real
machines.
"""
