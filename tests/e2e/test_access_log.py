"""The access log of the Connector: who used which service, by which way, how much and for how long; and who was denied.

    agent1 -- nata -- inet -- natb -- connector -- backend
                       |
                  intermediate

    the service was                                            verdict, path
    asked for with a certificate that no longer permits it     denied
    opened on the relay, direct paths are cut                  allowed, relay
    opened on the relay, then the tunnel became direct         allowed, both
    opened when the tunnel was direct already                  allowed, direct
"""
import json
import signal

import pytest
from ztna_net.backends import ECHO_PORT, Backends, client, ping
from ztna_net.configs import virtual4
from ztna_net.connection import IdleConnection
from ztna_net.failover import now
from ztna_net.metrics import total
from ztna_net.paths import path_of, quick_status, wait_path
from ztna_net.processes import wait_for
from ztna_net.system import System
from ztna_net.topology import Network

SERVICES = ("lab", "echo")


@pytest.fixture(scope="module")
def running():
    with Network(ipv6=False) as net:
        Backends(net, big=False)
        with System(net, services=SERVICES, connector={"log_format": "json"}) as system:
            yield system


class Used:
    """A running system with a new Agent; entry(service) is the one line about it since then."""

    def __init__(self, system):
        self.system, self.net, self.agent = system, system.net, system.agent
        self.agent.process.stop()
        self.before = len(system.connector.log())
        self.agent.use_identity(system.pki.folder / "agent-agent1")
        self.agent.start().wait_ready()

    def echoed(self, service, size):
        text = "u" * size
        return client(self.net, "agent1", "udp_client.py", "once", virtual4(service), ECHO_PORT, text, 3)["reply"] == text

    def entries(self, service):
        whole = self.system.connector.log()[self.before:].rpartition("\n")[0]
        lines = [json.loads(line) for line in whole.splitlines()]
        return [line for line in lines if line["message"] == "access" and line["service"] == service]

    def entry(self, service):
        wait_for(lambda: self.entries(service), 5, lambda: f"an entry:\n{self.system.connector.log()[-2000:]}")
        found, = self.entries(service)
        return found


@pytest.fixture
def used(running):
    yield Used(running)
    running.net.block_direct(False)


def says(entry, **wanted):
    """Numbers that are not named are 0."""
    counts = dict.fromkeys(("octets_to_backend", "octets_to_agent", "tcp_connections", "udp_flows", "echoes", "refused"), 0)
    wanted = {"level": "info", "agent": "agent1", **counts, **wanted}
    assert {key: entry[key] for key in wanted} == wanted, entry
    assert set(entry) == {"time", "message", "service", "seconds", *wanted}


def test_denied(used):
    """The Agent's new certificate does not permit a service that it uses: its next tunnel asks for it nevertheless."""
    assert used.echoed("echo", 10) and used.echoed("lab", 10)
    less = used.system.pki.issue("agent", "agent1", ["lab"], into=used.net.folder("less"))
    used.agent.use_identity(less)
    used.agent.process.signal(signal.SIGHUP)
    wait_for(lambda: any(e["verdict"] == "denied" for e in used.entries("echo")), 5, used.agent.log)
    denied = next(e for e in used.entries("echo") if e["verdict"] == "denied")
    says(denied, verdict="denied", why="not_permitted", path=denied["path"])
    assert denied["seconds"] == 0 and denied["path"] in ("relay", "direct")
    assert not used.echoed("echo", 10) and used.echoed("lab", 10)


def test_on_the_relay(used):
    used.net.block_direct(True)
    begun = now()
    with IdleConnection(used.net) as tcp:
        assert tcp.says(3000 * b"t") == 3000 * b"t"
        opened = now()
        assert used.echoed("lab", 700)
        assert client(used.net, "agent1", "udp_client.py", "once", virtual4("lab"), 9, "no such port", 0.2)["reply"] is None
        assert ping(used.net, "agent1", virtual4("lab"), count=2) is not None
    assert path_of(quick_status(used.agent)) == "relay"
    closing = now()
    assert used.agent.process.stop(10) == 0
    entry = used.entry("lab")
    ended = now()
    says(entry, verdict="allowed", why="tunnel closed", path="relay", octets_to_backend=3700, octets_to_agent=3700,
         tcp_connections=1, udp_flows=1, echoes=2, refused=1)
    assert (closing - opened) / 1e9 <= entry["seconds"] <= (ended - begun) / 1e9
    assert not used.entries("echo")


def test_on_both_ways_and_direct(used):
    assert used.echoed("echo", 100)
    wait_path(used.agent, "direct", 20)
    wait_for(lambda: total(used.system.connector.metrics(), "ztna_connector_direct_tunnels") == 1, 5, "the Connector has noticed")
    assert used.echoed("echo", 50)
    with IdleConnection(used.net) as tcp:
        assert tcp.says(3000 * b"t") == 3000 * b"t"
    assert path_of(quick_status(used.agent)) == "direct"
    assert used.agent.process.stop(10) == 0
    says(used.entry("echo"), verdict="allowed", why="tunnel closed", path="both", octets_to_backend=150, octets_to_agent=150, udp_flows=2)
    says(used.entry("lab"), verdict="allowed", why="tunnel closed", path="direct", octets_to_backend=3000, octets_to_agent=3000,
         tcp_connections=1)
