"""The settings of HAProxy in front of the API servers."""

from typing import Final

from tallystick.cluster.plan import API_PORT, PROXY_PORT, PROXY_STATISTICS_PORT, Plan

BACKEND: Final = "api"


def haproxy_settings(plan: Plan) -> str:
    """The file of HAProxy."""
    servers = "\n".join(f"    server {one.name} {one.at(API_PORT)}" for one in plan.servers)
    return f"""\
global
    maxconn 4096

defaults
    mode http
    timeout connect 500ms
    timeout client 70s
    timeout server 70s
    timeout http-request 10s
    # Shorter than the 75 s after which an API server closes a silent connection.
    timeout http-keep-alive 60s

frontend public
    bind {plan.proxy.at(PROXY_PORT)}
    default_backend {BACKEND}

backend {BACKEND}
    balance roundrobin
    option httpchk
    http-check send meth GET uri /readyz
    http-check expect status 200
    # A server that is gone: the request goes to the other one, also if it was sent already and nothing came back. A
    # request with an idempotency key is carried out once. One that may write and has no key is not sent again.
    option redispatch 1
    retries 3
    retry-on conn-failure empty-response
    http-request disable-l7-retry unless METH_GET or {{ req.fhdr(idempotency-key) -m found }}
    default-server check inter 500ms fall 2 rise 2 on-marked-down shutdown-sessions
{servers}

frontend statistics
    bind {plan.proxy.at(PROXY_STATISTICS_PORT)}
    stats enable
    stats uri /
"""
