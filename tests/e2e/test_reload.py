"""SIGHUP at the Agent with another list of services in its file. (test_operations.py has the Connector's list, test_renewal.py
certificates.)

    agent1 -- nata -- inet -- natb -- connector -- backend
                       |
                  intermediate

    service     its file names it    must hold
    web         before and after     a download goes on, its checksum is right
    lab         before               its address is unreachable at once, its connection ends
    echo        after                can be used
"""
import errno
import json
import signal
import socket

import pytest
from ztna_net.backends import ECHO_PORT, Backends
from ztna_net.configs import virtual4
from ztna_net.connection import IdleConnection
from ztna_net.failover import Download
from ztna_net.metrics import matching
from ztna_net.paths import quick_status
from ztna_net.processes import wait_for
from ztna_net.system import System
from ztna_net.topology import Network

RATE = 2_000_000  # octets a second of the download
IP_RECVERR = 11  # linux/in.h
BEFORE, AFTER = ("web", "lab"), ("web", "echo")


@pytest.fixture
def system():
    with Network(ipv6=False) as net:
        Backends(net)
        with System(net, services=("web", "lab", "echo"), agent_services=BEFORE) as running:
            yield running


def reload(agent, content, says="reloaded certificates and configuration"):
    before = len(agent.log())
    agent.configure(content)
    agent.process.signal(signal.SIGHUP)
    wait_for(lambda: says in agent.log()[before:], 5, lambda: f"{says!r}:\n{agent.log()[-2000:]}")


def with_services(agent, names):
    services = [{"id": name, "virtualIp": virtual4(name)} for name in names]
    return {**json.loads(agent.config_path.read_text()), "serviceId": names[0], "services": services}


def outcome(attempt):
    """None: what was said came back; else the error."""
    try:
        return None if attempt() else "other octets"
    except OSError as error:
        return error.errno


def udp(system, service):
    def attempt():
        with system.net.socket("agent1") as s:
            s.settimeout(2)
            s.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)  # else Linux tells UDP of an unreachable port only
            s.connect((virtual4(service), ECHO_PORT))
            s.send(b"there and back")
            return s.recv(100) == b"there and back"
    return outcome(attempt)


def tcp_to_lab(system):
    def attempt():
        with IdleConnection(system.net) as new:
            return new.says(b"hello\n") == b"hello\n"
    return outcome(attempt)


def listed(system):
    return {service["id"] for service in quick_status(system.agent)["services"]}


def tunnel_events(system):
    events = matching(system.agent.metrics(), '^ztna_agent_tunnel_events_total.*"(opened|closed|failed)"')
    assert len(events) == 3
    return events


def test_agent_takes_another_list_of_services(system):
    with Download(system.net, virtual4("web"), 3 * RATE, RATE) as page, IdleConnection(system.net) as living:
        page.wait_progress(5)
        assert living.says(b"before\n") == b"before\n"
        assert (udp(system, "lab"), tcp_to_lab(system), udp(system, "echo")) == (None, None, errno.EHOSTUNREACH)
        assert listed(system) == set(BEFORE)
        events = tunnel_events(system)

        reload(system.agent, with_services(system.agent, AFTER))
        wait_for(lambda: udp(system, "echo") is None, 3, lambda: f"the new service:\n{system.agent.log()[-2000:]}")
        assert (udp(system, "lab"), tcp_to_lab(system)) == (errno.EHOSTUNREACH, errno.EHOSTUNREACH)
        with pytest.raises((AssertionError, ConnectionResetError)):
            living.says(b"after\n")
        assert listed(system) == set(AFTER) and page.running()

        reload(system.agent, '{"services": [', "reload refused")
        assert (udp(system, "echo"), udp(system, "lab")) == (None, errno.EHOSTUNREACH)
        page.finish()
    assert tunnel_events(system) == events
