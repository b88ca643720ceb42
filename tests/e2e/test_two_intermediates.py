"""Two Intermediates: the Connector is attached to both, the Agent uses one and goes to the other when that is away.

    agent1 -- nata ==7.5 ms== inet ==7.5 ms== natb -- connector -- backend
                             ||  ||
                         7.5 ms  7.5 ms
                             ||  ||
                  intermediate    intermediate2

    event                                                      must hold
    the other one cannot be trusted                            nothing goes over it
    the one in use is killed, the tunnel on its relay          service back within 3 s, the download goes on
    the one in use is killed, the tunnel direct                nothing lost; the Agent finds the other by itself
    the same under a download alone                            it goes on within 3 s
    the one in use is told to stop                             the Agent has left before it does; nothing lost
    the first is back, the second is killed                    service back within 3 s
    the Agent is started while the first is away               service within 3 s
    the Connector is started while the first is away           the same
"""
import json
import signal

import pytest
from ztna_net import configs
from ztna_net.backends import PAGE_MARK, Backends, curl, ping
from ztna_net.configs import virtual4
from ztna_net.failover import Download, Meter, counted_from, event, legs_for, now, seconds
from ztna_net.metrics import total
from ztna_net.paths import path_of, quick_status, wait_path
from ztna_net.pki import Pki
from ztna_net.processes import wait_for
from ztna_net.system import SECOND_HOSTS, System
from ztna_net.topology import INTERMEDIATE4, SECOND4, Network

RTT_MS = 30
BACK_WITHIN_MS = 3000
RATE = 2_000_000  # octets a second of the download
FIRST, SECOND = (f"{address}:{configs.PORT}" for address in (INTERMEDIATE4, SECOND4))


@pytest.fixture(scope="module")
def built():
    with Network(legs_ms={**legs_for(RTT_MS), "intermediate2": RTT_MS / 4}, ipv6=False, second=True) as net:
        Backends(net)
        system = System(net, services=("web", "lab"))
        yield system
        system.stop()


@pytest.fixture
def two(built):
    """Both are up and have the Connector; the Agent is new, so it uses the first, and its tunnel is on the relay."""
    for daemon in (built.intermediate, built.second):
        if daemon.process is None or not daemon.process.running():
            daemon.start().wait_ready()
    if built.connector.process is None:
        built.connector.start()
    wait_for(lambda: attached(built) == 2, 15, "the Connector at both")
    built.net.block_direct(True)
    built.agent.process and built.agent.process.kill9()
    built.agent.start().wait_ready()
    wait_for(lambda: ping(built.net, "agent1", virtual4("lab"), count=1) is not None, 15, "the tunnel")
    assert server_of(built) == FIRST
    yield built
    built.net.block_direct(False)


def attached(system):
    """How many Intermediates have the Connector's registration of both services."""
    return sum(d.process.running() and registered_at(d) for d in (system.intermediate, system.second))


def registered_at(daemon):
    return total(daemon.metrics(), "ztna_services") == 2


def server_of(system):
    """The Intermediate that the Agent says it is connected to."""
    found = quick_status(system.agent)
    return found["server"] if found and found["connected"] else None


def moved_to(system, server, within):
    wait_for(lambda: server_of(system) == server, within, lambda: f"Agent at {server}:\n{system.agent.log()[-3000:]}")


def meter(system, **more):
    return Meter(system.net, virtual4("lab"), **more)


def page(system):
    return curl(system.net, "agent1", f"http://{virtual4('web')}/", timeout=5)


def whole(echoes, begin=None, end=None):
    assert not echoes.lost(begin, end) and not echoes.duplicates(begin, end), echoes.summary(begin, end)


def gap_below(echoes, limit_ms, begin, end):
    gap = echoes.gap(begin, end)
    assert gap is not None, "nothing came back"
    print(f"gap {gap.ms:.0f} ms, {len(echoes.lost(begin, end))} lost, sender's stall {echoes.stall_ms(begin, end):.0f} ms")
    assert gap.ms < limit_ms + echoes.stall_ms(begin, end), echoes.summary(begin, end)
    assert echoes.arrivals[-1] > end - seconds(0.5), "nothing at the end"


def back_after(system, action):
    """Time until the page is there again, in ms, from the end of `action`."""
    began = event(action).done
    wait_for(lambda: PAGE_MARK in page(system).stdout, 20, lambda: f"page again:\n{system.agent.log()[-3000:]}")
    return (now() - began) / 1e6


def test_one_that_cannot_be_trusted_is_no_way_out(two):
    foreign = Pki(two.net.folder("foreign"))
    own = two.second.folder / "own"
    (two.second.folder / "certs").rename(own)
    try:
        two.second.process.kill9()
        two.second.use_identity(foreign.issue("intermediate", "i2", hosts=SECOND_HOSTS))
        two.second.start().wait_ready()
        two.intermediate.process.kill9()
        wait_for(lambda: page(two).returncode != 0 and "cannot connect to the Intermediate" in two.agent.log(), 20,
                 lambda: f"a refusal:\n{two.agent.log()[-2000:]}")
        assert SECOND in two.agent.log() and server_of(two) != SECOND
    finally:
        two.second.process.kill9()
        two.second.use_identity(own)
        two.second.start().wait_ready()
    moved_to(two, SECOND, 15)
    assert PAGE_MARK in page(two).stdout


def test_the_one_in_use_is_killed_under_a_relayed_tunnel(two):
    with meter(two) as echo, Download(two.net, virtual4("web"), 6 * RATE, RATE) as page_job:
        page_job.wait_progress(5)
        killed = event(two.intermediate.process.kill9)
        moved_to(two, SECOND, 5)
        page_job.wait_progress(3)
        done = page_job.finish()
        end = now()
        echoes = echo.echoes()
    print(f"download: {done}")
    whole(echoes, None, killed.at - seconds(0.2))
    gap_below(echoes, BACK_WITHIN_MS, killed.at, end)
    whole(echoes, killed.done + seconds(BACK_WITHIN_MS / 1000), end - seconds(0.3))
    assert done["longest_wait_ms"] < BACK_WITHIN_MS
    assert PAGE_MARK in page(two).stdout, "a new flow"
    assert len(quick_status(two.agent)["tunnels"]) == 1, "the tunnel is the old one"


def test_the_one_in_use_is_killed_while_nobody_talks(two):
    """Then the first user finds out, and waits 3 s at most."""
    took = back_after(two, two.intermediate.process.kill9)
    print(f"page again after {took:.0f} ms")
    assert took < BACK_WITHIN_MS
    assert server_of(two) == SECOND


def test_a_download_alone_is_back_too(two):
    """Its user has nothing to send but acknowledgements, which wait for no answer: the Agent asks when it has become quiet."""
    with Download(two.net, virtual4("web"), 6 * RATE, RATE, patience=30) as page_job:
        page_job.wait_progress(5)
        two.intermediate.process.kill9()
        done = page_job.finish(40)
    print(f"download: {done}")
    assert done["longest_wait_ms"] < BACK_WITHIN_MS


def test_the_one_in_use_is_killed_while_direct(two):
    two.net.block_direct(False)
    wait_path(two.agent, "direct", 20)
    with meter(two, pps=200) as echo:
        two.intermediate.process.kill9()
        moved_to(two, SECOND, 35)  # nothing waits for it: its keep-alives find out
        assert PAGE_MARK in page(two).stdout, "a new flow"
        whole(echo.echoes())
    assert path_of(quick_status(two.agent)) == "direct"


def socket_drops(net):
    """host -> datagrams that its kernel dropped because a receive buffer was full; where there are any."""
    found = {}
    for host in net.hosts:
        head, values = (line.split() for line in net.run(host, "cat", "/proc/net/snmp").splitlines() if line.startswith("Udp:"))
        dropped = int(values[head.index("RcvbufErrors")])
        for line in net.run(host, "cat", "/proc/net/snmp6").splitlines():
            name, value = line.split()
            dropped += int(value) if name == "Udp6RcvbufErrors" else 0
        if dropped:
            found[host] = dropped
    return found


MOST_EXCUSED = 100  # of more than 6,000; one slow start was seen to cost 31


def test_drain_loses_nothing(two):
    dropped_before = sum(socket_drops(two.net).values())
    with meter(two) as echo, Download(two.net, virtual4("web"), 6 * RATE, RATE) as page_job:
        page_job.wait_progress(5)
        told = event(lambda: two.intermediate.process.signal(signal.SIGTERM))
        moved_to(two, SECOND, 2)
        assert two.intermediate.process.running(), "the Agent has left before it stopped"
        assert two.intermediate.process.wait(5) == 0
        stopped = now()
        page_job.finish()
        end = now()
        echoes = echo.echoes()
    print(f"drain: {echoes.summary(told.at, end)}, stopped after {(stopped - told.at) / 1e6:.0f} ms")
    lost = echoes.lost(None, end - seconds(0.3))
    # Sockets of 208 KiB overflow in the download's slow starts, at its beginning and on the new path: the ends' and the relays'.
    dropped = socket_drops(two.net)
    excused = min(sum(dropped.values()) - dropped_before, MOST_EXCUSED) if counted_from() else 0
    assert len(lost) <= excused and not echoes.duplicates(None, end), f"{dropped} dropped by sockets; {echoes.summary()}"
    assert two.agent.metrics()["ztna_agent_reconnections_total"] == 0


def test_the_first_is_back_before_the_second_dies(two):
    two.intermediate.process.kill9()
    assert back_after(two, lambda: None) < BACK_WITHIN_MS
    two.intermediate.start().wait_ready()
    wait_for(lambda: registered_at(two.intermediate), 10, "the Connector at the first")
    assert server_of(two) == SECOND, "what works is not left"
    took = back_after(two, two.second.process.kill9)
    print(f"page again after {took:.0f} ms")
    assert took < BACK_WITHIN_MS
    assert server_of(two) == FIRST


def test_agent_started_while_the_first_is_away(two):
    two.agent.process.kill9()
    two.intermediate.process.kill9()
    two.agent.start().process.wait_log("started")
    took = back_after(two, lambda: None)
    print(f"page after {took:.0f} ms")
    assert took < BACK_WITHIN_MS
    assert server_of(two) == SECOND


def test_connector_started_while_the_first_is_away(two):
    two.intermediate.process.kill9()
    two.connector.restart_after_kill()
    took = back_after(two, lambda: two.connector.wait_ready())
    print(f"page after {took:.0f} ms")
    assert took < BACK_WITHIN_MS
