"""Packets that must not get through: dropped, counted by reason, nothing sent back, and all goes on working.

    agent1, agent2 -- nata -- inet -- natb -- connector -- backend
                               |
                          intermediate
"""
import re
import secrets
from statistics import median

import pytest
from ztna_net.backends import DIGEST, ECHO_PORT, INSIDE, PYTHON, REFUSED_PORT, SPOOF_PORT, client, curl
from ztna_net.capture import Capture
from ztna_net.configs import PORT, virtual4, virtual6
from ztna_net.metrics import increases, matching
from ztna_net.processes import wait_for
from ztna_net.stranger import approach
from ztna_net.topology import ADDRESS, INTERMEDIATE4, INTERMEDIATE6

TUN4 = "10.100.0.254"
REENTRY4 = "10.100.0.253"
TUN6 = "fd5a:7a74:6e61::fffe"


def counted(daemon, before, reason, at_least=1):
    """Waits until the series of that reason have grown."""
    def grown():
        return sum(matching(increases(before, daemon.metrics()), reason).values()) >= at_least
    wait_for(grown, 3, lambda: f"{reason} counted; grew: {increases(before, daemon.metrics())}")


def works(system):
    reply = client(system.net, "agent1", "udp_client.py", "once", virtual4("echo"), ECHO_PORT, "alive", 3)
    assert reply["reply"] == "alive"


def raw(system, source, target, kind, count=1):
    system.net.run("agent1", PYTHON, INSIDE / "raw_packets.py", "ztna0", source, target, kind, count)


def fates(system, before, *wanted):
    """How many of the packets that the Agent has read from the TUN since had these fates."""
    grown = increases(before, system.agent.metrics())
    return [int(grown.get(f'ztna_agent_tun_packets_total{{fate="{fate}"}}', 0)) for fate in wanted]


# kind of raw_packets.py -> its fate
OF_BOTH = {
    "bad_udp_checksum": "bad_checksum", "bad_tcp_checksum": "bad_checksum", "bad_icmp_checksum": "bad_checksum",
    "short_udp": "bad_length", "short_total": "bad_length", "long_total": "truncated", "truncated": "truncated",
    "other_protocol": "wrong_protocol", "other_icmp": "wrong_protocol"}
MALFORMED = {("v4", kind): fate for kind, fate in {**OF_BOTH, "bad_ip_checksum": "bad_checksum"}.items()}
MALFORMED |= {("v6", kind): fate for kind, fate in {**OF_BOTH, "no_udp_checksum": "bad_checksum", "routing_header": "bad_header"}.items()}

# A good packet of each kind: its fate at the Agent, and what counts it at the Connector.
GOOD = {"good": ("carried_udp", 'ztna_connector_packets_total{fate="forwarded_udp"}'),
        "good_tcp": ("syn_held", "ztna_connector_tcp_sessions_total"),
        "good_icmp": ("carried_icmp", 'ztna_connector_packets_total{fate="echo_answered"}')}


@pytest.mark.parametrize("family,kind", MALFORMED)
def test_malformed_packet(system, family, kind):
    source, target = (TUN4, virtual4("lab")) if family == "v4" else (TUN6, virtual6("lab"))
    good = "good_tcp" if "tcp" in kind else "good_icmp" if "icmp" in kind else "good"
    fate, (taken, arrived) = MALFORMED[family, kind], GOOD[good]
    agent, connector = system.agent.metrics(), system.connector.metrics()
    with Capture(system.net, "backend", "eth0", f"udp port {ECHO_PORT}") as seen:
        raw(system, source, target, kind, 3)
        wait_for(lambda: fates(system, agent, fate, taken) == [3, 0], 3, lambda: f"{fate}: {increases(agent, system.agent.metrics())}")
        assert not matching(increases(agent, system.agent.metrics()), "icmp_errors_total|tcp_resets_total")
        # The good one arrives, and is the only one.
        raw(system, source, target, good)
        wait_for(lambda: increases(connector, system.connector.metrics()).get(arrived), 3, arrived)
        assert fates(system, agent, taken) == [1] and increases(connector, system.connector.metrics())[arrived] == 1
        works(system)
        seen.wait_contains(b"alive")
        assert not seen.contains(b"raw " + kind.encode())


@pytest.mark.parametrize("family,address", enumerate((virtual4, virtual6)))
def test_spoofed_source(system, family, address):
    """From an address of the host, but not the TUN's."""
    before = system.agent.metrics()
    with Capture(system.net, "backend", "eth0", f"udp port {ECHO_PORT}") as seen:
        raw(system, ADDRESS["agent1"][family], address("lab"), "good", 2)
        wait_for(lambda: fates(system, before, "spoofed_source", "carried_udp") == [2, 0], 3,
                 lambda: f"spoofed_source: {increases(before, system.agent.metrics())}")
        works(system)
        seen.wait_contains(b"alive")
        assert not seen.contains(b"raw good")


@pytest.mark.parametrize("address", ["10.100.0.99", "fd5a:7a74:6e61::99"])
def test_unknown_address(system, address):
    """Of nobody: counted, and the user's kernel is told with one ICMP error."""
    before = system.agent.metrics()
    reply = client(system.net, "agent1", "udp_client.py", "once", address, ECHO_PORT, "anybody", 0.5)
    assert reply["reply"] is None
    grown = increases(before, system.agent.metrics())
    assert fates(system, before, "unknown_address") == [1] and grown["ztna_agent_icmp_errors_total"] == 1, grown


@pytest.mark.parametrize("address", [virtual4, virtual6])
def test_wrong_port(system, address):
    before = system.connector.metrics()
    with Capture(system.net, "backend", "eth0", "udp port 7001") as seen:
        reply = client(system.net, "agent1", "udp_client.py", "once", address("echo"), 7001, "wrong door", 1)
        assert reply["reply"] is None
        counted(system.connector, before, '^ztna_connector_packets_total.*"wrong_port"')
        assert not seen.contains(b"wrong door")


@pytest.mark.parametrize("address", [virtual4, virtual6])
def test_wrong_protocol(system, address):
    """TCP to a UDP service: reset; UDP to a TCP service: dropped at the Connector."""
    done = client(system.net, "agent1", "tcp_client.py", "connect", address("echo"), ECHO_PORT, 3)
    assert done["outcome"] == "ECONNREFUSED" and done["seconds"] < 0.5, done
    before = system.connector.metrics()
    assert client(system.net, "agent1", "udp_client.py", "once", address("web"), 80, "datagram", 1)["reply"] is None
    counted(system.connector, before, '^ztna_connector_packets_total.*"wrong_protocol"')


def test_reply_from_another_address_is_not_delivered(system):
    with Capture(system.net, "backend", "eth0", f"udp port {SPOOF_PORT}") as seen:
        reply = client(system.net, "agent1", "udp_client.py", "once", virtual4("lab"), SPOOF_PORT, "OTHER host", 1)
        seen.wait_contains(b"OTHER host")
    assert reply["reply"] is None
    assert client(system.net, "agent1", "udp_client.py", "once", virtual4("lab"), SPOOF_PORT, "same", 3)["reply"] == "same"


@pytest.fixture(scope="module")
def tunnel_rtt(system):
    return system.tunnel_rtt()


def median_of_five(system, outcomes, *arguments):
    """Five connections that all end so: how long it took, in seconds."""
    tries = [client(system.net, "agent1", "tcp_client.py", "connect", *arguments, 5) for _ in range(5)]
    assert all(t["outcome"] in outcomes for t in tries), tries
    return median(t["seconds"] for t in tries)


@pytest.mark.alone
@pytest.mark.parametrize("address", [virtual4, virtual6])
def test_refused_by_the_backend(system, tunnel_rtt, address):
    assert median_of_five(system, ("ECONNREFUSED",), address("lab"), REFUSED_PORT) < tunnel_rtt + 0.05


@pytest.mark.alone
@pytest.mark.parametrize("address", [virtual4, virtual6])
def test_unreachable_backend(system, tunnel_rtt, address):
    assert median_of_five(system, ("EHOSTUNREACH", "ENETUNREACH"), address("dead"), 80) < tunnel_rtt + 0.05


def test_silent_backend_stays_silent(system):
    system.net.nft("backend", """
table inet quiet {
  chain input {
    type filter hook input priority filter;
    tcp dport 7198 drop
  }
}
""")
    try:
        done = client(system.net, "agent1", "tcp_client.py", "connect", virtual4("lab"), 7198, 2)
        assert done["outcome"] in ("timeout", "ETIMEDOUT") and done["seconds"] >= 1.9, done
    finally:
        system.net.run("backend", "nft", "delete", "table", "inet", "quiet")


def test_udp_port_nobody_listens_on(system):
    """The backend's ICMP error reaches the application as a refusal."""
    reply = client(system.net, "agent1", "udp_client.py", "once", virtual4("lab"), 7190, "anybody", 3)
    assert reply.get("error") == "ConnectionRefusedError", reply


def reentry_listeners(system):
    """[(address, port)] of the Agent's listeners, the metrics' left out."""
    rows = system.net.run("agent1", "ss", "-Hlntp").splitlines()
    found = [re.fullmatch(r"\[?([0-9a-f.:]+?)\]?(?:%\w+)?\]?:(\d+)", row.split()[3]) for row in rows if "ztna-agent" in row]
    listeners = [(m[1], int(m[2])) for m in found if int(m[2]) != system.agent.metrics_port]
    assert {address for address, _ in listeners} == {TUN4, TUN6}, rows
    return listeners


@pytest.mark.parametrize("host", ["agent1", "agent2"])
def test_reentry_listener_takes_nobody_else(system, host):
    for _, port in reentry_listeners(system):
        targets = [ADDRESS["agent1"][0], ADDRESS["agent1"][1]]
        if host == "agent1":
            targets += ["127.0.0.1", TUN4, REENTRY4, TUN6, "fd5a:7a74:6e61::fffd"]
        for target in targets:
            done = client(system.net, host, "tcp_client.py", "connect", target, port, 1)
            assert done["outcome"] != "connected", f"{host} connected to {target}:{port}"
    works(system)


def test_reentry_listener_takes_no_neighbour(system):
    """A neighbour on the LAN who sends what is for the TUN's own addresses to the agent host: Linux would take it."""
    net, listeners = system.net, reentry_listeners(system)
    for kind, prefix, via in (("-4", "10.100.0.254/32", ADDRESS["agent1"][0]), ("-6", "fd5a:7a74:6e61::fffe/128", ADDRESS["agent1"][1])):
        net.run("nata", "ip", kind, "route", "add", prefix, "via", via, "dev", "lan1")
    guest = net.spawn("agent1", PYTHON, INSIDE / "tcp_server.py", 7300, log=net.work / "guest.log")
    guest.wait_log("ready")
    try:
        for address, port in listeners:
            if address not in (TUN4, TUN6):
                continue
            # An ordinary listener on the same host can be reached so: the way is there.
            assert client(net, "nata", "tcp_client.py", "connect", address, 7300, 2)["outcome"] == "connected"
            assert client(net, "nata", "tcp_client.py", "connect", address, port, 1)["outcome"] != "connected"
    finally:
        guest.stop()
        net.run("nata", "ip", "-4", "route", "del", "10.100.0.254/32")
        net.run("nata", "ip", "-6", "route", "del", "fd5a:7a74:6e61::fffe/128")
    works(system)


def junk():
    """What a stranger may throw: wrong first octets, routed datagrams, probes, QUIC-like Initials of full size."""
    initial = "c300000001" + "08" + secrets.token_hex(8) + "08" + secrets.token_hex(8) + "00" + "449e" + secrets.token_hex(1170)
    return ["", "00", "ff" * 40, "2f", "2f08", "2f08" + "00" * 8 + "40" * 60, "2e00010000" + "aa" * 30, "1a" + "00" * 60,
            "1a01" + secrets.token_hex(70), "40" + secrets.token_hex(40), "7f" * 1400, initial]


@pytest.mark.parametrize("address", [INTERMEDIATE4, INTERMEDIATE6])
def test_routed_datagram_with_unknown_route(system, address):
    before = system.intermediate.metrics()
    packets = ["2f08" + secrets.token_hex(8) + "40" + secrets.token_hex(60) for _ in range(20)]
    done = client(system.net, "agent2", "udp_junk.py", address, PORT, *packets)
    assert done["answers"] == []
    counted(system.intermediate, before, "unknown_route", 20)


def test_routed_datagram_from_another_source(relayed):
    """agent2 sends under agent1's route id, which it learned by watching the link: dropped as from the wrong source."""
    system = relayed
    with Capture(system.net, "intermediate", "wan", f"udp port {PORT} and src host {ADDRESS['nata'][0]}") as seen:
        works(system)
        seen.wait_contains(b"\x2f\x08")
    data = seen.path.read_bytes()
    at = data.index(b"\x2f\x08")
    route = data[at + 2:at + 10].hex()
    before = system.intermediate.metrics()
    packets = ["2f08" + route + "40" + secrets.token_hex(60) for _ in range(10)]
    assert client(system.net, "agent2", "udp_junk.py", INTERMEDIATE4, PORT, *packets)["answers"] == []
    counted(system.intermediate, before, "wrong_source", 10)
    works(system)


def udp_ports(net, host, name):
    rows = net.run(host, "ss", "-Hanup").splitlines()
    return sorted({int(re.search(r":(\d+)$", row.split()[3])[1]) for row in rows if name in row})


def real_initials(system, alpn):
    """Initial packets as a client begins with, from a connection attempt that is watched."""
    with Capture(system.net, "agent2", "eth0", f"udp dst port {PORT}") as seen:
        approach(system.net, "agent2", None, flags=("--alpn", alpn), seconds=0.3)
        wait_for(lambda: initials_of(seen), 3, "an Initial packet")
    return initials_of(seen)


def initials_of(capture):
    return [p for p in capture.udp_payloads() if p[0] & 0xF0 == 0xC0 and p[1:5] == b"\0\0\0\1" and len(p) >= 1200]


def test_connector_answers_no_stranger(system):
    """From the NAT's own LAN side, so that no firewall helps: not one packet comes back, no handshake begins, and service
    goes on. The same Initial packets are answered by the Intermediate: they are good."""
    ports = udp_ports(system.net, "connector", "app-connector")
    assert 4434 in ports, ports
    initials = [p.hex() for alpn in ("ztna-v1", "ztna-tunnel-v1") for p in real_initials(system, alpn)]
    assert client(system.net, "natb", "udp_junk.py", INTERMEDIATE4, PORT, *initials)["answers"], "not even the Intermediate answers"
    thrown = junk() + initials + ["2f08" + secrets.token_hex(8) + p for p in initials]
    gateway, before = "10.20.0.1", system.connector.metrics()
    with Capture(system.net, "connector", "eth0", f"host {gateway}") as seen:
        assert client(system.net, "natb", "udp_junk.py", ADDRESS["connector"][0], 4434, *thrown)["answers"] == []
        wait_for(lambda: len(seen.rows("udp")) >= len(thrown), 3, "the junk to arrive")
        # What answers there may be would have left before the answer to this one.
        system.net.run("natb", "ping", "-c", "1", ADDRESS["connector"][0])
        wait_for(lambda: seen.rows("icmp[icmptype] == icmp-echoreply"), 3, "the echo reply")
    answers = seen.rows("udp", "and", "src", "host", ADDRESS["connector"][0])
    assert not answers, f"the Connector answered: {answers}"
    grown = increases(before, system.connector.metrics())
    assert sum(matching(grown, "not_welcome").values()) >= len(initials), grown
    assert not matching(grown, "accepted|retry_sent|version_negotiation_sent|stateless_reset_sent|tunnels_total"), grown
    works(system)


def test_junk_at_the_intermediate(system):
    before = system.intermediate.metrics()
    thrown = junk()
    client(system.net, "agent2", "udp_junk.py", INTERMEDIATE4, PORT, *thrown)

    def counted_junk():
        grown = increases(before, system.intermediate.metrics())
        return sum(matching(grown, r"^ztna_(udp_payloads|relay_datagrams)_total").values())
    wait_for(lambda: counted_junk() >= len(thrown), 3, lambda: f"{counted_junk()} of {len(thrown)} counted")
    works(system)


def test_everything_still_works_afterwards(system):
    assert curl(system.net, "agent1", f"http://{virtual4('web')}/").returncode == 0
    done = client(system.net, "agent1", "tcp_client.py", "half_close", virtual4("lab"), DIGEST, 100000)
    assert done["answer"] == done["expected"]
