"""Kill -9 and restart of each daemon while the tunnel is direct. (test_restarts.py has the relay.)

    agent1 -- nata ======= inet ======= natb -- connector -- backend     both NATs are port-restricted
                            |
                       intermediate

    killed          must hold
    Agent           service back within 3 s of its start, direct again
    Connector       the same
    Intermediate    nothing is lost: each echo comes back once, a TCP connection and a download go on, all of it direct;
                    a service that was never used before can be used within 3 s of its start
"""
import pytest
from test_restarts import BACK_WITHIN, back_after_a_kill, echo_works, page_works
from ztna_net.backends import Backends, ping
from ztna_net.configs import virtual4
from ztna_net.connection import IdleConnection
from ztna_net.failover import Download, Meter, counted_from, now
from ztna_net.metrics import matching, total
from ztna_net.paths import measured_path, path_of, quick_status, wait_path
from ztna_net.processes import wait_for
from ztna_net.system import System
from ztna_net.topology import Network

DIRECT_WITHIN = 10
RATE = 2_000_000  # octets a second of the download


@pytest.fixture(scope="module")
def running():
    with Network(ipv6=False) as net:
        Backends(net)
        with System(net) as system:
            yield system


@pytest.fixture
def direct(running):
    wait_for(lambda: echo_works(running), 10, "the tunnel")
    wait_path(running.agent, "direct", 20)
    return running


@pytest.mark.parametrize("kind", ["agent", "connector"])
@pytest.mark.parametrize("probe", [echo_works, page_works])
def test_service_is_back_after_a_kill(direct, kind, probe):
    back_after_a_kill(direct, kind, probe)
    wait_path(direct.agent, "direct", DIRECT_WITHIN)


def tunnels_closed(system):
    return total(matching(system.agent.metrics(), 'event="closed"'), "ztna_agent_tunnel_events_total")


@pytest.mark.alone
def test_nothing_is_lost_while_the_intermediate_is_away(direct):
    net, agent = direct.net, direct.agent
    closed, reconnections = tunnels_closed(direct), total(agent.metrics(), "ztna_agent_reconnections_total")
    with IdleConnection(net) as idle, Meter(net, virtual4("lab"), pps=200) as meter, Download(net, virtual4("web"), 3 * RATE, RATE) as page:
        assert idle.says(b"before\n") == b"before\n"
        wait_for(lambda: page.received() > RATE // 2, 5, "half a second of the download")
        calm, crossed = counted_from(), net.counters("packets")
        direct.intermediate.process.kill9()
        page.wait_progress(1)
        assert idle.says(b"while it is away\n", 1) == b"while it is away\n"
        direct.intermediate.start().wait_ready()
        up = now()
        wait_for(lambda: ping(net, "agent1", virtual4("web6"), count=1, wait=0.3) is not None, 15, "a service that was never used before")
        took = (now() - up) / 1e9
        wait_for(lambda: total(agent.metrics(), "ztna_agent_reconnections_total") > reconnections, 15, agent.log)
        wait_for(direct.connector.ready, 15, direct.connector.log)
        assert idle.says(b"after\n", 1) == b"after\n"
        page.finish()
        assert measured_path(net, crossed, net.counters("packets")) == "direct"
        echoes = meter.echoes()
    print(f"{echoes.summary(calm)}; a new service {took:.1f} s after the Intermediate was up")
    assert not echoes.lost(calm) and not echoes.duplicates(), echoes.summary(calm)
    assert tunnels_closed(direct) == closed and path_of(quick_status(agent)) == "direct"
    assert took < BACK_WITHIN
