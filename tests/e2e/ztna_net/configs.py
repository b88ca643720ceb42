"""The config files, written as a user would; the fields are those of docs/config.md.

ZTNA_E2E_OFFLOADS=off turns GSO, GRO, TSO and USO off and ZTNA_E2E_SMALL_BUFFERS=1 asks for the usual 208 KiB of socket
buffer, in every file, so that the whole suite can run that way.
"""
import json
import os

from .backends import ECHO_PORT, WEB_PORT
from .topology import BACKEND4, BACKEND6, INTERMEDIATE4

PORT = 4433
METRICS_PORT = {"intermediate": 9090, "connector": 9091, "agent": 9092}
SMALL_BUFFER = 212992

# An address of the connector's network that its routing table calls unreachable (System adds that route).
UNREACHABLE = "10.20.9.9"

# id -> (last part of the virtual addresses, what the Connector's file says)
SERVICES = {
    "web": (10, {"backend": f"{BACKEND4}:{WEB_PORT}", "protocol": "tcp"}),
    "web6": (11, {"backend": f"[{BACKEND6}]:{WEB_PORT}", "protocol": "tcp"}),
    "echo": (12, {"backend": f"{BACKEND4}:{ECHO_PORT}", "protocol": "udp"}),
    "echo6": (13, {"backend": f"[{BACKEND6}]:{ECHO_PORT}", "protocol": "udp"}),
    "lab": (14, {"backend": BACKEND4, "protocol": "any",
                 "ports": ["tcp/5201", "udp/5201", "udp/7000-7199", "tcp/7100-7199"]}),
    "dead": (15, {"backend": UNREACHABLE, "protocol": "any", "ports": ["tcp/80", "udp/7000"]}),
}


def virtual4(service):
    return f"10.100.0.{SERVICES[service][0]}"


def virtual6(service):
    return f"fd5a:7a74:6e61::{SERVICES[service][0]}"


def common(offloads, buffer_key, tun=False):
    """Fields by the two environment switches; camelCase or snake_case is up to the file."""
    fields = {}
    if os.environ.get("ZTNA_E2E_OFFLOADS") == "off":
        fields[offloads] = {k: False for k in ("gso", "gro", *(("tso", "uso") if tun else ()))}
    if os.environ.get("ZTNA_E2E_SMALL_BUFFERS") == "1":
        fields[buffer_key] = SMALL_BUFFER
    return fields


def intermediate(folder, **more):
    return {"_comment": "end-to-end test", "port": PORT, "metrics_port": METRICS_PORT["intermediate"],
            "state_dir": str(folder / "state"), **common("offloads", "socket_buffer_bytes"), **more}


def connector(folder, services=tuple(SERVICES), server=INTERMEDIATE4, **more):
    return {"intermediate_server": {"host": server, "port": PORT},
            "services": [{"id": s, **SERVICES[s][1]} for s in services],
            "metrics_port": METRICS_PORT["connector"], "state_dir": str(folder / "state"),
            **common("offloads", "socket_buffer_bytes"), **more}


def agent(folder, services=tuple(SERVICES), server=INTERMEDIATE4, **more):
    """services=None: all that the certificate permits, by the Catalog."""
    chosen = {}
    if services is not None:
        chosen = {"serviceId": services[0],
                  "services": [{"id": s, "virtualIp": [virtual4(s), virtual6(s)]} for s in services]}
    return {"serverHost": server, "serverPort": PORT, **chosen, "metricsPort": METRICS_PORT["agent"],
            "controlSocket": str(folder / "agent.sock"), "stateDir": str(folder / "state"),
            **common("offloads", "socketBufferBytes", tun=True), **more}


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content, indent=2) + "\n")
    return path
