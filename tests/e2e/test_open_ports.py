"""Bad input on ports that the whole world reaches: it changes nothing but counters, and it makes nobody a weapon.

    agent1 -- nata -- inet -- natb -- connector -- backend     no NAT at all: both ends have public addresses
                       |
                  intermediate                                 strangers send from inet; the victim is an address of inet's
"""
import json
import secrets
import socket
import struct
import subprocess

import pytest
from ztna_net.backends import ping
from ztna_net.built import compiled
from ztna_net.capture import Capture
from ztna_net.configs import PORT, virtual4
from ztna_net.failover import PRIORITY, Meter, event, now, seconds
from ztna_net.metrics import increases, matching
from ztna_net.paths import path_of, quick_status, wait_path
from ztna_net.processes import wait_for
from ztna_net.system import System
from ztna_net.topology import INTERMEDIATE4, Network

pytestmark = pytest.mark.alone
PPS = 10_000
DIRECT_PORT = 4434  # the Connector's, by default
PROBE_PORT = PORT + 2  # the Intermediate's second one
VICTIM4 = "198.18.9.9"
# Each class of first octet, and what a parser may stumble over behind it: (what, first octets, whole size).
JUNK = {
    "empty": ("", 0),
    "routed datagram": ("2f08", 200),
    "routed datagram, no payload": ("2f08", 10),
    "routed datagram, id past the end": ("2fff", 20),
    "probe request": ("1a01", 64),
    "probe response": ("1a02", 64),
    "probe without key": ("1a11", 41),
    "probe of an unknown type": ("1aff", 64),
    "QUIC short header": ("40", 100),
    "QUIC Initial": ("c000000001", 1200),
    "QUIC of another version": ("c0ffffffff", 1200),
    "nothing known": ("00", 100),
}
# Probes that one address gets which never answers: a few in each session, and sessions come back with growing pauses.
PROBES_PER_SESSION = 5


def pause(length):
    until = now() + seconds(length)
    wait_for(lambda: now() >= until, length + 1, "the clock")


@pytest.fixture(scope="module")
def exposed():
    with Network(nat_a="none", nat_b="none", ipv6=False) as net:
        net.run("inet", "ip", "addr", "add", VICTIM4 + "/32", "dev", "lo")
        net.nft("inet", "table inet strangers {\n counter answers { }\n counter victim { }\n chain input {\n"
                        f"  type filter hook input priority 0;\n  ip daddr {VICTIM4} counter name victim\n"
                        "  meta l4proto { udp, icmp } counter name answers\n }\n}\n")
        with System(net, services=("lab",)) as system:
            assert ping(net, "agent1", virtual4("lab"), count=1)
            yield system


@pytest.fixture
def direct(exposed):
    wait_path(exposed.agent, "direct", 20)
    return exposed


def count(net, name):
    """Packets that this counter of the strangers' host has seen."""
    found = json.loads(net.run("inet", "nft", "-j", "list", "counter", "inet", "strangers", name))["nftables"]
    return next(c["counter"]["packets"] for c in found if "counter" in c)


def port_of(agent):
    """The port of the Agent's own socket. The search for a router that maps ports has another one open for a moment."""
    candidates = quick_status(agent)["nat"]["candidates"]
    return int(next(c["address"] for c in candidates if c["kind"] == "host" and "." in c["address"]).rsplit(":", 1)[1])


def targets(system):
    """[(daemon, address, port)] of what listens to the world."""
    net = system.net
    return [(system.agent, net.address("agent1"), port_of(system.agent)),
            (system.connector, net.address("connector"), DIRECT_PORT)]


def memory_mib(daemon):
    with open(f"/proc/{daemon.process.pid}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS")) / 1024


def spoofed(net, source, target, payloads):
    """Sends UDP datagrams from inet under somebody else's address."""
    with net.within("inet"), socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as s:
        for payload in payloads:
            udp = struct.pack("!HHHH", source[1], target[1], 8 + len(payload), 0) + payload
            header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, socket.IPPROTO_UDP, 0,
                                 socket.inet_aton(source[0]), socket.inet_aton(target[0]))
            s.sendto(header + udp, (target[0], 0))


def payloads_counted(daemon):
    """UDP payloads that the program has told apart so far."""
    return sum(matching(daemon.metrics(), r"^ztna_\w+_udp_payloads_total").values())


QUICK = ("routed datagram", "probe request", "probe without key", "QUIC short header", "QUIC Initial", "nothing known")


@pytest.mark.parametrize("what", [pytest.param(w, marks=[] if w in QUICK else [pytest.mark.full]) for w in JUNK])
def test_ten_thousand_junk_packets_a_second(direct, what):
    net, (octets, size) = direct.net, JUNK[what]
    before, answers = {d.kind: payloads_counted(d) for d in direct.daemons}, count(net, "answers")
    memory = {d.kind: memory_mib(d) for d, *_ in targets(direct)}
    with Meter(net, virtual4("lab"), pps=200) as echo:
        pause(0.2)
        floods = [net.popen("inet", *PRIORITY, compiled("echo_meter"), "flood", address, port, PPS, 1, size, octets,
                            stdout=subprocess.PIPE, text=True) for _, address, port in targets(direct)]
        told = [json.loads(f.communicate(timeout=30)[0]) for f in floods]
        echoes = echo.echoes()
    assert all(t["answers"] == 0 for t in told) and count(net, "answers") == answers, f"somebody answered: {told}"
    assert all(t["sent"] >= 0.9 * PPS for t in told), told
    for (daemon, *_), flood in zip(targets(direct), told):
        grown = payloads_counted(daemon) - before[daemon.kind]
        assert grown >= 0.9 * flood["sent"] or size == 0, f"{daemon.kind} counted {grown} of {flood['sent']}"
        assert memory_mib(daemon) < memory[daemon.kind] + 8, daemon.kind
    assert not echoes.lost() and not echoes.duplicates(), echoes.summary()
    assert path_of(quick_status(direct.agent)) == "direct"


# What the Intermediate may answer: a Retry or Version Negotiation, and where a probe came from.
ANSWERED_THERE = ("QUIC Initial", "QUIC of another version", "probe without key", "QUIC short header")
QUICK_THERE = [(w, PORT) for w in QUICK] + [("probe without key", PROBE_PORT), ("nothing known", PROBE_PORT)]


@pytest.fixture
def relayed(exposed):
    exposed.net.block_direct(True)
    try:
        wait_for(lambda: ping(exposed.net, "agent1", virtual4("lab"), count=1, wait=1) is not None and
                 path_of(quick_status(exposed.agent)) == "relay", 20, "the relay")
        yield exposed
    finally:
        exposed.net.block_direct(False)


def received_there(intermediate, port):
    """UDP payloads that came to the port, each counted once."""
    names = "probes" if port == PROBE_PORT else "udp_payloads|relay_datagrams"
    return sum(matching(intermediate.metrics(), rf"^ztna_({names})_total").values())


@pytest.mark.parametrize("what,port", [pytest.param(w, p, marks=[] if (w, p) in QUICK_THERE else [pytest.mark.full])
                                       for p in (PORT, PROBE_PORT) for w in JUNK])
def test_ten_thousand_junk_packets_a_second_at_the_intermediate(relayed, what, port):
    """It relays on meanwhile: not one packet of a user is lost, nobody is thrown out, and its memory does not grow."""
    net, daemon, (octets, size) = relayed.net, relayed.intermediate, JUNK[what]
    status, memory = quick_status(relayed.agent), memory_mib(daemon)
    own = received_there(daemon, port)
    with Meter(net, virtual4("lab"), pps=200) as echo:
        pause(0.2)
        flood = net.popen("inet", *PRIORITY, compiled("echo_meter"), "flood", INTERMEDIATE4, port, PPS, 1, size, octets,
                          stdout=subprocess.PIPE, text=True)
        told = json.loads(flood.communicate(timeout=30)[0])
        echoes = echo.echoes()
    assert told["sent"] >= 0.9 * PPS, told
    assert told["answers"] <= told["sent"] if what in ANSWERED_THERE else told["answers"] == 0, told
    grown = received_there(daemon, port) - own
    assert grown >= 0.9 * told["sent"] or size == 0, f"counted {grown} of {told['sent']}"
    assert memory_mib(daemon) < memory + 8
    assert not echoes.lost() and not echoes.duplicates(), echoes.summary()
    after = quick_status(relayed.agent)
    assert path_of(after) == "relay" and after["reconnections"] == status["reconnections"]


def test_spoofed_sources_change_nothing(direct):
    """Junk that claims to come from the Intermediate, or from the peer: no answer goes anywhere, no path moves."""
    net, ends = direct.net, targets(direct)
    victims, sent = count(net, "victim"), 0
    before, status = {d.kind: payloads_counted(d) for d, *_ in ends}, quick_status(direct.agent)
    with Meter(net, virtual4("lab"), pps=200) as echo:
        for at, (_, address, port) in enumerate(ends):
            peer = ends[1 - at][1:]
            for source in ((INTERMEDIATE4, PORT), peer, (VICTIM4, 4434)):
                for octets, size in JUNK.values():
                    junk = [(bytes.fromhex(octets) + secrets.token_bytes(size))[:size] for _ in range(20)]
                    spoofed(net, source, (address, port), junk)
                    sent += len(junk) / len(ends)
        pause(0.5)
        echoes = echo.echoes()
    assert not echoes.lost() and not echoes.duplicates(), echoes.summary()
    assert all(payloads_counted(d) - before[d.kind] >= 0.9 * sent for d, *_ in ends), "the junk did not arrive"
    assert count(net, "victim") == victims, "the victim got answers"
    after = quick_status(direct.agent)
    assert path_of(after) == "direct" and after.get("observed_v4") == status.get("observed_v4")
    assert after["reconnections"] == status["reconnections"]


def probes(capture):
    return [(source, destination, payload) for _, source, destination, payload in capture.udp_packets()
            if payload[:1] == b"\x1a" and payload[1:2] in (b"\x01", b"\x02")]


def test_replayed_probes_change_nothing(direct):
    """Real probes, seen on the way, come again from another address: nobody answers them, no path goes there."""
    net, ends = direct.net, targets(direct)
    with Capture(net, "connector", "eth0", "udp") as seen:
        direct.agent.process.kill9()
        direct.agent.start().wait_ready()
        ping(net, "agent1", virtual4("lab"), count=1)
        wait_path(direct.agent, "direct", 20)
        wait_for(lambda: len(probes(seen)) >= 2, 5, "probes")
    ends = targets(direct)
    by_address = {address: (address, port) for _, address, port in ends}
    victims, answers = count(net, "victim"), count(net, "answers")
    before = {d.kind: d.metrics() for d, *_ in ends}
    with Meter(net, virtual4("lab"), pps=200) as echo:
        for source, destination, payload in probes(seen):
            target = by_address.get(destination[0])
            if target is not None:
                spoofed(net, (VICTIM4, 4434), target, [payload] * 5)
                spoofed(net, source, target, [payload] * 5)
        pause(0.5)
        echoes = echo.echoes()
    assert count(net, "victim") == victims and count(net, "answers") == answers, "a replayed probe was answered"
    assert not echoes.lost() and path_of(quick_status(direct.agent)) == "direct"
    grown = {d.kind: matching(increases(before[d.kind], d.metrics()), "probe") for d, *_ in ends}
    assert any(grown.values()), f"replayed probes must be counted: {grown}"


def system_offering(net, address):
    """A Connector whose operator offers an address that is not its own."""
    return System(net, services=("lab",), connector={
        "p2p": {"port": 4434, "external_ip": address}})


def watched(net, host, address, port):
    """Counts what `host` sends to address and port; returns a reader."""
    net.nft(host, f"table inet watched\ndelete table inet watched\ntable inet watched {{\n counter out {{ }}\n chain output {{\n"
                  f"  type filter hook output priority 0;\n  ip daddr {address} udp dport {port} counter name out\n }}\n}}\n")

    def read():
        found = json.loads(net.run(host, "nft", "-j", "list", "counter", "inet", "watched", "out"))["nftables"]
        return next(c["counter"]["packets"] for c in found if "counter" in c)
    return read


@pytest.fixture(scope="module")
def hopeless():
    """Two symmetric NATs: nothing direct is found, so sessions come again and again."""
    with Network(nat_a="symmetric", nat_b="symmetric", ipv6=False) as net:
        yield net


def open_tunnel(system):
    wait_for(lambda: ping(system.net, "agent1", virtual4("lab"), count=1, wait=1) is not None, 10, "the tunnel")
    return event(lambda: None).at


def test_a_victim_gets_a_fixed_few_probes(hopeless):
    sent = watched(hopeless, "agent1", VICTIM4, 4434)
    with system_offering(hopeless, VICTIM4) as system:
        since = open_tunnel(system)
        wait_for(lambda: sent() > 0, 10, "a probe: the test would show nothing")
        pause(8)
        # Sessions that never succeeded come again after 5 s, 10 s, ...
        sessions = 1 + (now() - since) // seconds(5)
        assert sent() <= PROBES_PER_SESSION * sessions, f"{sent()} probes in {sessions} sessions at most"
        print(f"{sent()} probes to the victim in {(now() - since) / 1e9:.0f} s")


VIRTUAL = "10.100.0.254"
NOBODYS = ("127.0.0.1", "224.0.0.1", "255.255.255.255", "169.254.7.7")


@pytest.mark.parametrize("address", ["127.0.0.1", "192.168.77.7", INTERMEDIATE4, *[
    pytest.param(a, marks=pytest.mark.full) for a in
    ("224.0.0.1", "255.255.255.255", "169.254.7.7", "172.16.9.9", "100.64.1.1", VIRTUAL)]])
def test_third_parties_are_never_probed(hopeless, address):
    """Loopback, multicast, broadcast, link-local, private ranges of neither side, our own TUN, the Intermediate."""
    sent = watched(hopeless, "agent1", address, 4434)
    system = system_offering(hopeless, address)
    checked = system.connector.run("--check-config")
    if address in NOBODYS:  # refused before it could be offered; a peer that lies: agent_direct_test.cc, bad_input_test.cc
        assert checked.returncode == 2 and "external_ip" in checked.stderr, checked
        return
    assert checked.returncode == 0, checked.stderr
    with Capture(hopeless, "agent1", "eth0", "udp") as seen, system:
        open_tunnel(system)
        if address == VIRTUAL:
            wait_for(lambda: "candidate refused" in system.intermediate.log(), 10, "the Intermediate's refusal of the whole message")
        else:
            wait_for(lambda: any(p[:2] == b"\x1a\x01" for p in seen.udp_payloads()), 10, "probes to other candidates")
        pause(1)
    assert sent() == 0, f"{sent()} packets to {address}"
