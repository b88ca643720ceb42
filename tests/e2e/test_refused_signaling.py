"""Signaling that the Intermediate must not pass on (docs/protocol.md 3.1), and the probes that it answers (section 5).

    agent1 (victim) --+
                      nata -- inet -- natb -- connector (a stranger with the Connector's certificate)
    agent2 (thief)  --+         |
                           intermediate (only it is up)
"""
import secrets

import pytest
from ztna_net.backends import PYTHON, client
from ztna_net.configs import PORT
from ztna_net.metrics import increases, matching, total
from ztna_net.processes import wait_for
from ztna_net.stranger import Visit, approach, candidate, candidates, hello, message, messages, register_connector, string8
from ztna_net.system import System
from ztna_net.topology import ADDRESS, INTERMEDIATE4, INTERMEDIATE6, Network

OFFER, ANSWER, START, RESULT, ERROR = 0x20, 0x21, 0x22, 0x23, 0x24
ROUTE_OPENED = 0x31
UNKNOWN_SESSION, EXPIRED, NOT_YOURS, LIMIT, BAD_CANDIDATE = 1, 2, 3, 4, 6
PROBE_PORT = PORT + 2
PUBLIC = candidate("198.18.1.2", 40000)


@pytest.fixture(scope="module")
def lonely():
    with Network() as net:
        system = System(net, services=("web",))
        system.pki.issue("agent", "agent2", ("web",))
        system.intermediate.start().wait_ready()
        yield system


class Tunnel:
    """Ids of one tunnel and session, and the messages about them."""

    def __init__(self):
        self.id, self.session = secrets.token_bytes(16), secrets.token_bytes(8)

    def request(self):
        return message(0x30, self.id + string8("web") + string8(""))

    def offer(self, *list_, session=None):
        return candidates(OFFER, session or self.session, self.id, *list_)

    def answer(self, *list_):
        return candidates(ANSWER, self.session, self.id, *list_)

    def reached(self, address="198.18.1.2"):
        return message(RESULT, self.session + b"\1" + candidate(address, 40000)[5:])

    def failed(self):
        return message(RESULT, self.session + b"\0\4" + bytes(6))


def connector(system, *replies, seconds=4):
    """The stranger at the Connector's place, registered; it answers messages by `replies`."""
    net = system.net
    visit = Visit(net, "connector", net.work / "pki/connector-c1", hello() + register_connector("web"), when=replies,
                  seconds=seconds)
    wait_for(lambda: total(system.intermediate.metrics(), "ztna_services") == 1, 5, "the service")
    return visit


def agent(system, host, octets, **more):
    return approach(system.net, host, system.net.work / f"pki/agent-{host}", hello() + octets, **more)


def bodies(done, kind):
    return [body for type_, body in messages(done) if type_ == kind]


def errors(done, session):
    return [body[8] for body in bodies(done, ERROR) if body[:8] == session]


def counted(system, before, pattern, at_least=1):
    wait_for(lambda: sum(matching(increases(before, system.intermediate.metrics()), pattern).values()) >= at_least, 3,
             lambda: f"{pattern}; grew: {increases(before, system.intermediate.metrics())}")


def test_session_of_others(lonely):
    """A thief who knows tunnel and session gets nothing into it, and nothing out of it."""
    before, tunnel, net = lonely.intermediate.metrics(), Tunnel(), lonely.net
    serving = connector(lonely, (OFFER, tunnel.answer(PUBLIC)), seconds=5)
    victim = Visit(net, "agent1", net.work / "pki/agent-agent1", hello() + tunnel.request(),
                   when=[(ROUTE_OPENED, tunnel.offer(PUBLIC))], seconds=4)
    wait_for(lambda: total(lonely.intermediate.metrics(), "ztna_signaling_sessions") == 1, 5, "the victim's session")
    thief = agent(lonely, "agent2", tunnel.offer(candidate("198.18.3.9", 53)) + tunnel.reached() + tunnel.failed() +
                  tunnel.offer(PUBLIC, session=secrets.token_bytes(8)) + message(ERROR, tunnel.session + b"\2" + string8("over")) +
                  message(0x33, tunnel.id + b"\1\1"), seconds=0.7)
    assert thief["closed"] is None and errors(thief, tunnel.session) == [NOT_YOURS] * 3, thief
    assert len(bodies(thief, ERROR)) == 4 and not bodies(thief, ANSWER) and not bodies(thief, START), thief
    counted(lonely, before, "signaling_refused.*not_yours", 5)
    counted(lonely, before, "path_reports.*not_yours")
    victim, serving = victim.done(), serving.done()
    assert len(bodies(victim, ANSWER)) == 1 and len(bodies(victim, START)) == 1, victim
    assert not bodies(victim, ERROR) and not bodies(victim, RESULT), victim
    assert len(bodies(serving, OFFER)) == 1 and not bodies(serving, RESULT) and not bodies(serving, 0x33), serving


def test_tunnel_that_nobody_has(lonely):
    tunnel = Tunnel()
    done = agent(lonely, "agent1", tunnel.offer(PUBLIC) + tunnel.reached(), seconds=0.7)
    assert errors(done, tunnel.session) == [NOT_YOURS, UNKNOWN_SESSION], done


@pytest.mark.parametrize("host,octets", [
    ("connector", candidates(OFFER, bytes(8), bytes(16))), ("agent1", candidates(ANSWER, bytes(8), bytes(16))),
    ("agent1", message(START, bytes(10) + b"\4" + bytes(6))), ("agent1", message(0x02, b"\1\1"))],
    ids=["offer of a Connector", "answer of an Agent", "StartPunching of a client", "ProbePort of a client"])
def test_messages_of_another_role(lonely, host, octets):
    name = "connector-c1" if host == "connector" else f"agent-{host}"
    done = approach(lonely.net, host, lonely.net.work / "pki" / name, hello() + octets)
    assert done["closed"] and done["closed"]["code"] == 1, done


def test_session_that_nobody_answers_expires(lonely):
    before, tunnel = lonely.intermediate.metrics(), Tunnel()
    serving = connector(lonely, seconds=9)
    done = agent(lonely, "agent1", tunnel.request(), when=[(ROUTE_OPENED, tunnel.offer(PUBLIC)), (ERROR, tunnel.reached())],
                 seconds=7)
    assert errors(done, tunnel.session) == [EXPIRED, UNKNOWN_SESSION], done
    serving = serving.done()
    assert len(bodies(serving, OFFER)) == 1 and errors(serving, tunnel.session) == [EXPIRED], serving
    counted(lonely, before, "sessions_ended.*expired")


BAD = {"loopback": ("127.0.0.1", 53), "loopback 6": ("::1", 53), "multicast": ("224.0.0.251", 5353), "multicast 6": ("ff02::fb", 5353),
       "unspecified": ("0.0.0.0", 9), "port 0": ("198.18.1.2", 0), "link-local": ("169.254.169.254", 80), "link-local 6": ("fe80::1", 80),
       "broadcast": ("255.255.255.255", 9), "the Intermediate": (INTERMEDIATE4, PORT), "its probe port": (INTERMEDIATE4, PROBE_PORT),
       "a virtual address": ("10.100.0.10", 80)}


def test_bad_candidates(lonely):
    """None is passed on, by neither end; a good one before and after is."""
    before, tunnel = lonely.intermediate.metrics(), Tunnel()
    bad = [candidate(*BAD[row]) for row in BAD]
    replies = b"".join(tunnel.answer(PUBLIC, each) for each in bad) + tunnel.reached("127.0.0.1") + tunnel.answer(PUBLIC)
    serving = connector(lonely, (OFFER, replies), seconds=4)
    offers = b"".join(tunnel.offer(PUBLIC, each) for each in bad)
    done = agent(lonely, "agent1", tunnel.request(),
                 when=[(ROUTE_OPENED, tunnel.offer(PUBLIC) + offers + tunnel.offer(PUBLIC))], seconds=2)
    assert errors(done, tunnel.session) == [BAD_CANDIDATE] * len(BAD), done
    assert [body for body in bodies(done, ANSWER)] == [tunnel.answer(PUBLIC)[2:]] and not bodies(done, RESULT), done
    serving = serving.done()
    assert bodies(serving, OFFER) == [tunnel.offer(PUBLIC)[2:]] * 2, serving
    assert errors(serving, tunnel.session)[:len(BAD) + 1] == [BAD_CANDIDATE] * (len(BAD) + 1), serving
    counted(lonely, before, "signaling_refused.*bad_candidate", 2 * len(BAD) + 1)


def test_limits(lonely):
    """Candidates and lists of a session, sessions of an Agent."""
    before, tunnel = lonely.intermediate.metrics(), Tunnel()
    serving = connector(lonely, seconds=4)
    many = tunnel.offer(*[PUBLIC] * 65)
    sessions = b"".join(tunnel.offer(session=n.to_bytes(8, "big")) for n in range(1, 101))
    done = agent(lonely, "agent1", tunnel.request(),
                 when=[(ROUTE_OPENED, many + tunnel.offer(*[PUBLIC] * 64) + tunnel.offer(PUBLIC) + sessions)], seconds=2)
    assert errors(done, tunnel.session) == [LIMIT] * 2, done
    refused = [body for body in bodies(done, ERROR) if body[:8] != tunnel.session and body[8] == LIMIT]
    assert len(refused) == 100 - 63, len(refused)
    serving = serving.done()
    assert len(bodies(serving, OFFER)) == 64
    counted(lonely, before, "signaling_refused.*limit", 2 + len(refused))
    wait_for(lambda: total(lonely.intermediate.metrics(), "ztna_signaling_sessions") == 0, 10, "no session left")
    counted(lonely, before, "sessions_ended.*peer_gone", 64)


def test_session_as_it_should_be(lonely):
    before, tunnel = lonely.intermediate.metrics(), Tunnel()
    serving = connector(lonely, (OFFER, tunnel.answer(PUBLIC)), (START, tunnel.failed()), seconds=4)
    done = agent(lonely, "agent1", tunnel.request(),
                 when=[(ROUTE_OPENED, tunnel.offer(PUBLIC)), (START, tunnel.reached())], seconds=2)
    serving = serving.done()
    assert bodies(serving, OFFER) == [tunnel.offer(PUBLIC)[2:]] and bodies(done, ANSWER) == [tunnel.answer(PUBLIC)[2:]]
    starts = bodies(serving, START) + bodies(done, START)
    assert len(starts) == 2 and all(s[:8] == tunnel.session and int.from_bytes(s[8:10], "big") < 100 for s in starts), starts
    assert bodies(serving, RESULT) == [tunnel.reached()[2:]] and bodies(done, RESULT) == [tunnel.failed()[2:]]
    assert not bodies(serving, ERROR) and not bodies(done, ERROR)
    counted(lonely, before, "sessions_ended.*reached")


def body(frame):
    """Without type and length, which is of two octets above 63."""
    return frame[3:] if frame[1] & 0x40 else frame[2:]


def observed(done):
    """What the Intermediate said a client's own address is: family, address and port, as octets."""
    return bodies(done, 0x01)[-1]


def test_claimed_server_reflexive_address(lonely):
    """Neither end can pass off a victim as the address that the Intermediate sees it at, nor another port of its own; what it
    is seen at goes to the other end from the Intermediate itself. The same claim as a host's address is no more than that."""
    before, tunnel = lonely.intermediate.metrics(), Tunnel()
    victim, other_port = candidate("198.18.3.9", 53, kind=2), candidate(ADDRESS["nata"][0], 9, kind=2)
    v6, host = candidate("fd00:f:3::9", 53, kind=2), candidate("198.18.3.9", 53)
    claims = (victim, PUBLIC, other_port, v6, host)
    serving = connector(lonely, (OFFER, tunnel.answer(*claims)), (START, tunnel.failed()), seconds=4)
    done = agent(lonely, "agent1", tunnel.request(),
                 when=[(ROUTE_OPENED, tunnel.offer(*claims)), (START, tunnel.failed())], seconds=2)
    serving = serving.done()
    assert bodies(serving, OFFER) == [body(tunnel.offer(PUBLIC, v6, host))], serving
    assert bodies(done, ANSWER) == [body(tunnel.answer(PUBLIC, v6, host))], done
    assert not bodies(serving, ERROR) and not bodies(done, ERROR)
    assert [start[10:] for start in bodies(serving, START)] == [observed(done)], serving
    assert [start[10:] for start in bodies(done, START)] == [observed(serving)], done
    counted(lonely, before, "claims_dropped", 4)


def probe(system, host, address, *what, count=1):
    return client(system.net, host, "udp_probe.py", address, count, *what)


@pytest.mark.parametrize("family", [0, 1], ids=["IPv4", "IPv6"])
def test_open_probe_from_outside(lonely, family):
    """inet has no filter: it hears the answers from both ports. Behind nata the NAT's address is what is observed."""
    before, target = lonely.intermediate.metrics(), (INTERMEDIATE4, INTERMEDIATE6)[family]
    expected = {f"{PORT}:11": PORT, f"{PROBE_PORT}:11": PROBE_PORT, f"{PORT}:13": PROBE_PORT, f"{PROBE_PORT}:13": PORT}
    got = probe(lonely, "inet", target, *expected)
    own = ("198.18.3.1", "fd00:f:3::1")[family]
    assert {what: port for port, _, _, _, what in got["answers"]} == expected and len(got["answers"]) == 4, got
    for _, size, address, port, _ in got["answers"]:
        assert size <= 41 and address == own and port == got["own_port"], got
    counted(lonely, before, 'probes_total.*"answered"', 2)
    counted(lonely, before, "probes_total.*answered_other", 2)
    inside = probe(lonely, "agent1", target, f"{PORT}:11", f"{PROBE_PORT}:11")
    seen = {(address, port) for _, _, address, port, _ in inside["answers"]}
    assert len(inside["answers"]) == 2 and len(seen) == 1, inside  # a cone: one mapping for both
    assert seen.pop()[0] == (ADDRESS["nata"][0], ADDRESS["agent1"][1])[family]


def test_probes_are_answered_only_so_often(lonely):
    before = lonely.intermediate.metrics()
    got = probe(lonely, "inet", INTERMEDIATE4, f"{PROBE_PORT}:11", count=300)
    assert 40 <= len(got["answers"]) <= 120, len(got["answers"])
    counted(lonely, before, "probes_total.*source_limit", 150)
    assert probe(lonely, "agent1", INTERMEDIATE4, f"{PORT}:11")["answers"], "another source is answered"


def test_what_is_no_request_gets_no_answer(lonely):
    before = lonely.intermediate.metrics()
    got = probe(lonely, "inet", INTERMEDIATE4, *(f"{port}:{kind}" for port in (PORT, PROBE_PORT) for kind in ("01", "02", "12", "14")))
    assert got["answers"] == [], got
    junk = ["", "2f08" + "07" * 20, "1a11", "1a11" + "00" * 40, "c0" + "00" * 60, "40" + "00" * 60, "00", "ff" * 50]
    assert client(lonely.net, "inet", "udp_junk.py", INTERMEDIATE4, PROBE_PORT, *junk)["answers"] == []
    counted(lonely, before, "probes_total.*malformed", 8)
    counted(lonely, before, "probes_total.*not_a_request", 2)
    counted(lonely, before, "probes_total.*not_a_probe", 6)
    assert probe(lonely, "agent1", INTERMEDIATE4, f"{PORT}:11")["answers"]


def test_probe_port_is_told_or_missed():
    """Taken: chosen by somebody, it is an error; else a warning, and clients are not told of one."""
    with Network() as net:
        system = System(net, services=("web",))
        identity = net.work / "pki/agent-agent1"
        taker = net.spawn("intermediate", PYTHON, "-c", "import socket; s = socket.socket(type=socket.SOCK_DGRAM); "
                          f"s.bind(('0.0.0.0', {PROBE_PORT})); print('bound', flush=True); s.recv(1)", log=net.work / "taker.log")
        taker.wait_log("bound", 5)
        refused = system.intermediate.run("--probe-port", PROBE_PORT)
        assert refused.returncode == 2 and "--probe-port" in refused.stderr and str(PROBE_PORT) in refused.stderr, refused
        assert system.intermediate.run("--probe-port", PORT, "--check-config").returncode == 2
        system.intermediate.start().wait_ready()
        assert "no second port for NAT discovery" in system.intermediate.log()
        done = approach(net, "agent1", identity, hello(), seconds=0.7)
        assert [kind for kind, _ in messages(done)] == [0x3F, 0x01], done
        before = system.intermediate.metrics()
        assert client(net, "inet", "udp_probe.py", INTERMEDIATE4, 1, f"{PORT}:13")["answers"] == []
        counted(system, before, "probes_total.*no_other_port")
        assert len(client(net, "inet", "udp_probe.py", INTERMEDIATE4, 1, f"{PORT}:11")["answers"]) == 1
        taker.stop(2)
        system.intermediate.process.stop(10)
        system.intermediate.start().wait_ready()
        done = approach(net, "agent1", identity, hello(), seconds=0.7)
        assert messages(done)[1] == (0x02, PROBE_PORT.to_bytes(2, "big")), done
        assert [kind for kind, _ in messages(done)] == [0x3F, 0x02, 0x01], done
