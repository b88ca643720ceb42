"""`ztna-agent status` and the metrics beside it: why a tunnel is on the relay and what would mend it, how good its direct path is.

    agent1 -- nata ==7.5 ms== inet ==7.5 ms== natb -- connector -- backend
                               ||
                             7.5 ms           every round trip between two ends is 30 ms, over the relay it is 60
                               ||
                          intermediate
"""
import json
import re
import signal
import time

import pytest
from ztna_net.backends import DIGEST, ECHO_PORT, INSIDE, PYTHON, TCP_FIRST, ping
from ztna_net.configs import PORT, virtual4, virtual6
from ztna_net.failover import legs_for
from ztna_net.metrics import increases, matching, total
from ztna_net.paths import path_of, quick_status, status, wait_path
from ztna_net.processes import wait_for
from ztna_net.system import System
from ztna_net.topology import ADDRESS, INTERMEDIATE4, Network

RTT_MS = 30
BUSY_MS = 100  # what a busy machine may add to a smoothed round trip
SERVICES = ("lab", "web")  # two services, one tunnel
SYMMETRIC = "symmetric NAT (address and port-dependent mapping, address and port-dependent filtering)"
ADDRESS_RESTRICTED = "address-restricted cone NAT (endpoint-independent mapping, address-dependent filtering)"
PORT_RESTRICTED = "port-restricted cone NAT (endpoint-independent mapping, address and port-dependent filtering)"
BOTH_SYMMETRIC = "the NATs of both ends give each connection another address"
NOT_VALIDATED = "an address answered, but packets of full size did not pass"
PROBES = 5  # to an address that does not answer
AGENT4, NATA4, NATB4, CONNECTOR4 = (ADDRESS[host][0] for host in ("agent1", "nata", "natb", "connector"))
CONNECTOR4_INNER = "10.20.1.1"  # towards the backend
CONNECTOR_PORT = 4434
# The Connector's host has it, the Agent's none of that block: it is never tried.
ELSEWHERE = "192.168.77.1"
# Probes pass, packets of 1200 octets do not.
NO_FULL_SIZE = "flush chain inet mon block\nadd rule inet mon block udp length > 1000 drop\n"
LEG_LOSS = 0.1
# ROUNDS times BURST small datagrams at once; the next round begins when all are back, or 10 ms after the last that came.
BURSTS = """
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    s.connect((sys.argv[1], int(sys.argv[2])))
    s.settimeout(0.01)
    for _ in range(int(sys.argv[3])):
        for _ in range(int(sys.argv[4])):
            s.send(b"small")
        try:
            for _ in range(int(sys.argv[4])):
                s.recv(64)
        except TimeoutError:
            pass
"""


def nat_measured(system):
    wait_for(lambda: quick_status(system.agent)["nat"]["v4"]["state"] == "done", 10,
             lambda: f"NAT discovery: {quick_status(system.agent)['nat']}")


def open_services(system, services=SERVICES):
    for service in services:
        assert ping(system.net, "agent1", virtual4(service), count=1) is not None, system.agent.log()[-3000:]


@pytest.fixture(scope="module")
def symmetric():
    """The tunnel is on the relay for good; the Agent knows its NAT before it looks for a direct path."""
    with Network(nat_a="symmetric", nat_b="symmetric", legs_ms=legs_for(RTT_MS), ipv6=False) as net:
        net.run("connector", "ip", "addr", "add", ELSEWHERE + "/24", "dev", "eth1")
        with System(net, services=SERVICES) as system:
            nat_measured(system)
            open_services(system)
            yield system


@pytest.fixture(scope="module")
def cones():
    """A direct path is possible; the two NATs differ."""
    with Network(nat_a="address_restricted", nat_b="port_restricted", legs_ms=legs_for(RTT_MS), ipv6=False) as net, \
            System(net, services=SERVICES) as system:
        net.spawn("backend", PYTHON, INSIDE / "udp_echo.py", ECHO_PORT, log=net.work / "udp-echo.log").wait_log("ready")
        net.spawn("backend", PYTHON, INSIDE / "tcp_server.py", TCP_FIRST, log=net.work / "tcp-server.log").wait_log("ready")
        yield system


@pytest.fixture
def fresh_agent(cones):
    """The system with an Agent that has no tunnel yet; afterwards the way is free again."""
    cones.agent.process.kill9()
    cones.net.forget("nata")
    cones.agent.start().wait_ready()
    yield cones
    cones.net.block_direct(False)
    for leg in ("nata", "natb"):
        cones.net.set_leg(leg, RTT_MS / 4)


def text_of(system):
    done = system.net.attempt("agent1", *system.agent.command("status"), timeout=20)
    assert done.returncode == 0 and not done.stderr, done
    return done.stdout


def way_of(said, service="lab"):
    return next(s for s in said["services"] if s["id"] == service)["way"]


def go_direct(system):
    """Nothing is under way when the path changes: the second service opens on the new one."""
    open_services(system, SERVICES[:1])
    wait_path(system.agent, "direct", 10)
    open_services(system, SERVICES[1:])


def host_of(candidate):
    return candidate["address"].rsplit(":", 1)[0]


def told(system, wanted):
    """(`status --json`, `status`, `status --json`) of a moment in which the way is as `wanted` asks and stays the same."""
    found = []

    def steady():
        found[:] = status(system.agent), text_of(system), status(system.agent)
        ways = [{k: v for k, v in way_of(said).items() if k not in ("since_s", "next_try_s")} for said in found[::2]]
        return ways[0] == ways[1] and wanted(way_of(found[2]))
    wait_for(steady, 15, lambda: f"a steady way: {json.dumps(found, indent=1)}\n{system.agent.log()[-3000:]}")
    return found


def relayed_for(code):
    """A try to go direct has ended so, and the next one does not begin at once."""
    return lambda way: way["state"] == "relay" and way["reason"]["code"] == code and way["next_try_s"] > 0.5


def direct(way):
    return way["state"] == "direct"


def cut_direct(system):
    """What finds that the path is dead is traffic."""
    def back():
        answer = ping(system.net, "agent1", virtual4("lab"), count=1, wait=1)
        return answer is not None and path_of(quick_status(system.agent)) == "relay"
    system.net.block_direct(True)
    wait_for(back, 10, "the relay")


def row_of(text, service):
    """{column: cell} of a service in the table."""
    lines = text.splitlines()
    head = next(line for line in lines if line.split()[:1] == ["SERVICE"])
    row = next(line for line in lines if line.split()[:1] == [service])
    return dict(zip(head.split(), re.split(" {2,}", row.strip()), strict=True))


def why_relayed(text, service):
    """The lines that say why a service is on the relay."""
    return next(p for p in text.split("\n\n") if p.startswith(f"{service} is on the relay: ")).splitlines()


def check_row(found, service, path, least_ms, remote):
    """Text and JSON say the same of the path, which has lost nothing; and what they say is right."""
    before, text, after = found
    way, row = way_of(after, service), row_of(text, service)
    assert (way["kind"], way["state"], way["remote"], way["loss"]) == (path, path, remote, 0), way
    assert least_ms <= way["rtt_ms"] < least_ms + BUSY_MS, way
    since = float(row.pop("SINCE").removesuffix(" s"))
    assert way_of(before, service)["since_s"] - 0.5 <= since <= way["since_s"] + 0.5, f"{since}: {found}"
    assert row == {"SERVICE": service, "ADDRESS": f"{virtual4(service)}, {virtual6(service)}", "STATE": "open", "PATH": path,
                   "RTT": f"{way['rtt_ms']:.1f} ms", "LOSS": "0.0 %", "REMOTE": remote, "CONNECTOR": "c1"}


def nonzero(daemon, name):
    """{labels: value} of the series of a metric that are not 0; the metric must be there."""
    series = daemon.metrics()
    total(series, name)
    return {k.removeprefix(name): v for k, v in matching(series, rf"^{name}({{|$)").items() if v}


def test_symmetric_nats_are_told(symmetric):
    found = told(symmetric, relayed_for("both_symmetric"))
    _, text, said = found
    assert re.match(rf"Connected to {INTERMEDIATE4}:{PORT} \(\d+\.\d ms\), which sees us as {NATA4}:\d+\n", text)
    nat = said["nat"]
    assert (nat["v4"]["state"], nat["v4"]["kind"], nat["v4"]["description"]) == ("done", "symmetric", SYMMETRIC)
    assert {(host_of(c), c["kind"]) for c in nat["candidates"]} == {(AGENT4, "host"), (NATA4, "server_reflexive")}
    for service in SERVICES:
        check_row(found, service, "relay", 2 * RTT_MS, f"{INTERMEDIATE4}:{PORT}")
        way = way_of(said, service)
        assert way["reason"] == {"code": "both_symmetric", "text": BOTH_SYMMETRIC}
        assert (way["peer_nat"], way["peer_nat_description"]) == ("symmetric", SYMMETRIC)
        assert all(word in way["remedy"] for word in ("p2p.port", "external_ip", "IPv6")) and way["next_try_s"] >= 0
        assert not any(c["received"] or "rtt_ms" in c for c in way["checks"])
        assert {(host_of(c), c["kind"], c["verdict"], c["sent"]) for c in way["checks"]} == {
            (CONNECTOR4, "host", "allowed", PROBES), (CONNECTOR4_INNER, "host", "allowed", PROBES),
            (ELSEWHERE, "host", "private_of_neither", 0), (NATB4, "server_reflexive", "allowed", PROBES)}
        lines = why_relayed(text, service)
        assert re.fullmatch(r"  next try in \d+ s", lines.pop(-2))
        assert lines == [
            f"{service} is on the relay: {BOTH_SYMMETRIC}", f"  NAT here, IPv4: {SYMMETRIC}", f"  NAT there: {SYMMETRIC}",
            *(f"  {c['address']} ({c['kind']}): "
              + (f"no answer to {PROBES} probes" if c["sent"] else "not tried (private_of_neither)") for c in way["checks"]),
            f"  to mend it: {way['remedy']}"]


def test_symmetric_nats_are_counted(symmetric):
    way = way_of(told(symmetric, relayed_for("both_symmetric"))[2])
    assert total(symmetric.agent.metrics(), "ztna_agent_punching_sessions_total") == way["tries"] >= 1
    assert nonzero(symmetric.agent, "ztna_agent_relayed_tunnels") == {'{reason="both_symmetric"}': 1}
    assert nonzero(symmetric.agent, "ztna_agent_tunnel_paths") == {'{path="relay"}': 1}
    assert not nonzero(symmetric.agent, "ztna_agent_path_changes_total")
    assert not nonzero(symmetric.intermediate, "ztna_direct_tunnels")
    assert not nonzero(symmetric.connector, "ztna_connector_direct_tunnels")
    assert not nonzero(symmetric.connector, "ztna_connector_path_changes_total")


def test_watch_goes_on_until_interrupted(symmetric):
    """Whole prints, one a second; the Agent minds neither the watching nor its end."""
    agent = symmetric.agent
    # Whoever started the tests may have had SIGINT ignored.
    people, programs = (symmetric.net.spawn("agent1", "env", "--default-signal=INT", *agent.command("status", "--watch", *flags),
                                            log=symmetric.net.folder("watch")) for flags in ((), ("--json",)))
    end = " dropped\n\n"
    wait_for(lambda: people.log().count(end) >= 2 and programs.log().count("\n") >= 2, 10,
             lambda: f"two prints:\n{people.log()}\n{programs.log()}")
    for job in (people, programs):
        assert job.running()
        job.signal(signal.SIGINT)
        assert job.wait(5) in (0, -signal.SIGINT), job.log()
    prints = people.log().split(end)
    assert prints.pop() == "" and "\x1b" not in people.log()
    for text in prints:
        assert text.startswith("Connected to ") and row_of(text, "lab")["PATH"] == "relay"
    since = [way_of(json.loads(line))["since_s"] for line in programs.log().splitlines()]
    assert all(0.9 <= b - a < 5 for a, b in zip(since, since[1:])), since
    assert text_of(symmetric).startswith("Connected to ")


def test_direct_path_is_told(fresh_agent):
    """With the times between which it began, round trip and loss."""
    began = time.monotonic()
    go_direct(fresh_agent)
    reached = time.monotonic()
    found = told(fresh_agent, direct)
    _, text, said = found
    shown = time.monotonic()
    for service in SERVICES:
        check_row(found, service, "direct", RTT_MS, f"{NATB4}:{CONNECTOR_PORT}")
        way = way_of(said, service)
        assert way["tries"] == 1 and not {"reason", "remedy", "next_try_s", "last_fall_back"} & set(way)
        answered = [c for c in way["checks"] if "rtt_ms" in c]
        assert [c["address"] for c in answered] == [way["remote"]] and RTT_MS <= answered[0]["rtt_ms"] < RTT_MS + BUSY_MS
    assert "is on the relay" not in text
    since = way_of(status(fresh_agent.agent))["since_s"]
    asked = time.monotonic()
    assert shown - reached <= since <= asked - began
    later = way_of(status(fresh_agent.agent))["since_s"]
    assert 0 < later - since <= time.monotonic() - shown


def after_loss(system, rounds, burst):
    """What is told() when the bursts have met the loss, and the path has stayed: one that loses may count as dead."""
    net, agent = system.net, system.agent
    for _ in range(4):
        go_direct(system)
        # What was lost in the first second may have been under way on the other path.
        wait_for(lambda: way_of(status(agent))["since_s"] > 1.1, 5, "a second on the path")
        assert way_of(status(agent))["loss"] == 0
        changes = nonzero(agent, "ztna_agent_path_changes_total")
        net.set_leg("natb", 0.5, drop=LEG_LOSS)
        net.run("agent1", PYTHON, "-c", BURSTS, virtual4("lab"), ECHO_PORT, rounds, burst)
        net.set_leg("natb", 0.5)
        found = told(system, lambda way: True)
        if nonzero(agent, "ztna_agent_path_changes_total") == changes:
            return found
    raise AssertionError(f"no path stayed: {changes}")


@pytest.mark.parametrize("rounds,burst", [(400, 1), (400, 30)])
def test_loss_is_told(fresh_agent, rounds, burst):
    """The share of packets, whether one datagram is in each or many share one."""
    system = fresh_agent
    for leg in ("nata", "natb"):
        system.net.set_leg(leg, 0.5)  # congestion control would hold back what waits for 30 ms
    _, text, said = after_loss(system, rounds, burst)
    loss = way_of(said)["loss"]
    print(f"loss told: {100 * loss:.1f} %")
    assert row_of(text, "lab")["LOSS"] == f"{100 * loss:.1f} %"
    assert 0.5 * LEG_LOSS < loss < 1.7 * LEG_LOSS, way_of(said)


def test_what_was_under_way_is_no_loss(fresh_agent):
    """The tunnel goes direct in the middle of an upload, over a network that loses nothing."""
    net = fresh_agent.net
    upload = net.spawn("agent1", PYTHON, INSIDE / "tcp_client.py", "half_close", virtual4("lab"), DIGEST, 20_000_000, log=net.folder("upload"))
    wait_path(fresh_agent.agent, "direct", 5)
    assert upload.running(), "it was over before the path changed"
    assert upload.wait(30) == 0
    done = json.loads(upload.log())
    assert done["answer"] == done["expected"]
    wait_for(lambda: way_of(status(fresh_agent.agent))["since_s"] > 1.2, 5, "a second on the path")
    assert way_of(status(fresh_agent.agent))["loss"] == 0


def test_an_answer_that_did_not_help_is_told(fresh_agent):
    fresh_agent.net.nft("inet", NO_FULL_SIZE)
    nat_measured(fresh_agent)
    open_services(fresh_agent)
    found = told(fresh_agent, relayed_for("not_validated"))
    _, text, said = found
    check_row(found, "lab", "relay", 2 * RTT_MS, f"{INTERMEDIATE4}:{PORT}")
    way = way_of(said)
    lines = why_relayed(text, "lab")
    answered = next(c for c in way["checks"] if "rtt_ms" in c)
    assert answered["address"] == f"{NATB4}:{CONNECTOR_PORT}" and RTT_MS <= answered["rtt_ms"] < RTT_MS + BUSY_MS
    assert lines[:3] == [f"lab is on the relay: {NOT_VALIDATED}", f"  NAT here, IPv4: {said['nat']['v4']['description']}",
                         f"  NAT there: {PORT_RESTRICTED}"]
    assert said["nat"]["v4"]["description"].startswith(ADDRESS_RESTRICTED)
    assert f"  {answered['address']} (server_reflexive): answered after {answered['rtt_ms']:.1f} ms" in lines
    assert sum("no answer to" in line for line in lines) == len(way["checks"]) - 1
    assert "1,200 octets" in way["remedy"] and lines[-1] == f"  to mend it: {way['remedy']}"
    assert nonzero(fresh_agent.agent, "ztna_agent_relayed_tunnels") == {'{reason="not_validated"}': 1}


def test_metrics_follow_the_path(fresh_agent):
    """Before a tunnel is there, when it has gone direct, and when it is back on the relay."""
    system, punched = fresh_agent, '{from="relay",to="direct",cause="punched"}'
    agent, connector, intermediate = system.agent, system.connector, system.intermediate

    def direct_tunnels():
        return total(intermediate.metrics(), "ztna_direct_tunnels")
    wait_for(lambda: direct_tunnels() == 0, 5, lambda: f"{direct_tunnels()}: the former Agent has none any more")
    for name in ("path_changes_total", "tunnel_paths", "path_rtt_seconds", "relayed_tunnels"):
        assert not nonzero(agent, f"ztna_agent_{name}")
    moved, sessions = connector.metrics(), total(intermediate.metrics(), "ztna_signaling_sessions_total")

    def connector_moved():
        return matching(increases(moved, connector.metrics()), "path_changes_total")
    go_direct(system)
    assert nonzero(agent, "ztna_agent_path_changes_total") == {punched: 1}
    assert nonzero(agent, "ztna_agent_tunnel_paths") == {'{path="direct"}': 1}
    assert not nonzero(agent, "ztna_agent_relayed_tunnels")
    assert total(intermediate.metrics(), "ztna_signaling_sessions_total") == sessions + 1
    wait_for(lambda: connector_moved() == {'ztna_connector_path_changes_total{to="direct"}': 1}, 5, connector_moved)
    assert nonzero(connector, "ztna_connector_direct_tunnels") == {"": 1}
    wait_for(lambda: direct_tunnels() == 1, 5, lambda: f"{direct_tunnels()} direct tunnels instead of 1")
    cut = time.monotonic()
    cut_direct(system)
    way = way_of(status(agent))
    assert way["since_s"] <= time.monotonic() - cut, way
    cause, reason = way["last_fall_back"], way["reason"]["code"]
    assert reason == ("mtu" if cause == "large_lost" else "path_died"), way
    assert nonzero(agent, "ztna_agent_relayed_tunnels") == {f'{{reason="{reason}"}}': 1}
    assert nonzero(agent, "ztna_agent_path_changes_total") == {punched: 1, f'{{from="direct",to="relay",cause="{cause}"}}': 1}
    assert nonzero(agent, "ztna_agent_tunnel_paths") == {'{path="relay"}': 1}
    wait_for(lambda: connector_moved() == {f'ztna_connector_path_changes_total{{to="{to}"}}': 1 for to in ("direct", "relay")},
             5, connector_moved)
    assert not nonzero(connector, "ztna_connector_direct_tunnels")
    wait_for(lambda: direct_tunnels() == 0, 5, lambda: f"{direct_tunnels()} direct tunnels instead of none")
