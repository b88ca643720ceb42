"""Every pair of NAT kinds connects, and goes direct where that is possible.

    agent1 -- nata (-- cgna) ==7.5 ms== inet ==7.5 ms== (cgnb --) natb -- connector -- backend
                                         ||
                                       7.5 ms                    every round trip between two ends is 30 ms
                                         ||
                                    intermediate

    agent \\ connector     none  full  addr  port  sym  cgnat  blocked      D  direct is required
    none                   D     D     D     D     D    D      r            e  either; a guess of ports may succeed
    full_cone              D     D     D     D     D    D      r            r  relayed: nothing else is possible
    address_restricted     D     D     D     D     D    D      r
    port_restricted        D     D     D     D     e    D      r
    symmetric              D     D     D     e     e    e      r            also: both ends behind one NAT, in one LAN (D),
    cgnat                  D     D     D     D     e    D      r            apart with hairpin (D) and without (r);
    udp_blocked            r     r     r     r     r    r      r            IPv6 only direct (D); control over IPv6 (D)

Required: every pair connects within a few seconds, on the relay at worst; D pairs are direct; what the Agent says of its path is
what the packets at the Intermediate's link say; time to direct, median of 10, under 500 ms. The kinds are nftables rule sets
(ztna_net/nats.py), proven from outside by test_nat_kinds.py. A few pairs run always, all of them with -m full.
"""
import collections
import itertools
import statistics

import pytest
from ztna_net.backends import ping
from ztna_net.capture import Capture
from ztna_net.configs import PORT, virtual4
from ztna_net.failover import Meter, event, legs_for
from ztna_net.metrics import matching, total
from ztna_net.paths import measured_path, path_of, quick_status, status, wait_path
from ztna_net.processes import wait_for
from ztna_net.system import System
from ztna_net.topology import INTERMEDIATE4, INTERMEDIATE6, Network

RTT_MS = 30
DIRECT_WITHIN_MS = 500  # the median
GAP_MS, RETURN_SECONDS = 500, 10
KINDS = ("none", "full_cone", "address_restricted", "port_restricted", "symmetric", "cgnat", "udp_blocked")
QUICK = {("none", "none"), ("port_restricted", "port_restricted"), ("cgnat", "cgnat"), ("symmetric", "full_cone"),
         ("address_restricted", "symmetric"), ("symmetric", "symmetric"), ("udp_blocked", "none")}
# Echoes of this size are told from everything else on the wire by the size of their QUIC packet, which holds one or two.
ECHO_SIZE, ECHO_ON_WIRE = 600, {*range(650, 690), *range(1290, 1320)}


def expected(a, b):
    if "udp_blocked" in (a, b):
        return "relay"
    hard = ("port_restricted", "cgnat", "symmetric")
    return "either" if a == "symmetric" and b in hard or b == "symmetric" and a in hard else "direct"


def test_the_table_above_is_what_is_required():
    letters = {"direct": "D", "either": "e", "relay": "r"}
    rows = {line.split()[0]: line.split()[1:1 + len(KINDS)] for line in __doc__.splitlines()
            if line.split() and line.split()[0] in KINDS and "\\" not in line}
    assert rows == {a: [letters[expected(a, b)] for b in KINDS] for a in KINDS}


def transfer(system, seconds=1.0):
    """Echoes for about `seconds`: (what the counters say, what came of them)."""
    net = system.net
    before = net.counters("packets")
    with Meter(net, virtual4("lab"), pps=200, size=ECHO_SIZE) as meter:
        wait_for(lambda: net.counters("packets")["relayed"] + net.counters("packets")["direct"]
                 > sum(before.values()) + 200 * seconds, 10, "echoes")
        echoes = meter.echoes()
    return measured_path(net, before, net.counters("packets")), echoes


def connected(system):
    """The first packets get through, by whatever way."""
    wait_for(lambda: ping(system.net, "agent1", virtual4("lab"), count=1, wait=1) is not None, 10,
             lambda: f"connection:\n{system.agent.log()[-3000:]}")


def check(system, want):
    """Waits for the path that is wanted, and compares it with what the packets do. Returns it."""
    connected(system)
    for attempt in range(3):
        if want == "direct":
            wait_path(system.agent, "direct", 10)
        else:
            # Long enough for a session to end, a search of ports included.
            wait_for(lambda: path_of(quick_status(system.agent)) == "direct" or settled(system), 12, "the end of punching")
        said = path_of(status(system.agent))
        measured, echoes = transfer(system)
        if said == path_of(status(system.agent)):
            break  # it did not move meanwhile
        assert attempt < 2, f"it does not stay on its path:\n{system.agent.log()[-3000:]}"
    assert measured == said, f"the Agent says {said}, the packets say {measured}"
    assert not echoes.lost() and not echoes.duplicates(), echoes.summary()
    assert want in ("either", said), f"{said} instead of {want}: {status(system.agent)}"
    return said


def way(system):
    """What the Agent says of the way that its first service takes: state, reason of the relay, tries, checks, ..."""
    services = (quick_status(system.agent) or {}).get("services") or [{}]
    return services[0].get("way", {})


def settled(system):
    """Whether a session has ended without success."""
    now_way = way(system)
    return now_way.get("state") == "relay" and now_way.get("tries", 0) > 0


def running(net, **more):
    return System(net, services=("lab",), **more)


def pairs():
    for a, b in itertools.product(KINDS, KINDS):
        yield pytest.param(a, b, marks=[] if (a, b) in QUICK else [pytest.mark.full])


@pytest.mark.parametrize("a,b", pairs())
def test_pair(a, b):
    with Network(nat_a=a, nat_b=b, legs_ms=legs_for(RTT_MS), ipv6=False) as net, running(net) as system:
        check(system, expected(a, b))


@pytest.mark.parametrize("kind,want", [("one_nat", "direct"), ("one_nat_hairpin", "direct"), ("one_nat_apart", "relay")])
def test_behind_one_nat(kind, want):
    with Network(nat_a=kind, legs_ms=legs_for(RTT_MS), ipv6=False) as net, running(net) as system:
        check(system, want)


def test_ipv6_only_direct():
    """IPv4 has no direct way at all, so IPv6 is it; both firewalls let in only what was asked for."""
    with Network(nat_a="symmetric", nat_b="symmetric", legs_ms=legs_for(RTT_MS)) as net:
        net.block_direct("ipv4")
        with running(net) as system:
            check(system, "direct")


def test_control_relay_and_direct_over_ipv6():
    with Network(legs_ms=legs_for(RTT_MS)) as net:
        net.block_direct("ipv4")
        with running(net, agent={"serverHost": INTERMEDIATE6},
                     connector={"intermediate_server": {"host": INTERMEDIATE6, "port": PORT}}) as system:
            check(system, "direct")
            before = net.counters("packets")
            with Meter(net, virtual4("lab"), pps=500) as meter:
                for kind in ("direct", "relayed"):
                    wait_for(lambda: net.counters("packets")[kind] > before[kind] + 300, 5, f"echoes, {kind}")
                    if kind == "direct":
                        cut = event(lambda: net.block_direct("both"))
                echoes = meter.echoes()
            assert echoes.gap(cut.at).ms < GAP_MS, echoes.summary()
            wait_path(system.agent, "relay", 3)
            with Capture(net, "agent1", "eth0", "udp") as seen:
                assert transfer(system)[0] == "relay"
            assert len(seen.rows("host", INTERMEDIATE6)) > 100 and not seen.rows("host", INTERMEDIATE4)
            net.block_direct("ipv4")
            wait_path(system.agent, "direct", RETURN_SECONDS)


@pytest.mark.parametrize("slower", [4, 6])
def test_the_faster_family_is_taken(slower):
    with Network(legs_ms=legs_for(RTT_MS)) as net:
        for leg in ("nata", "natb"):
            # 20 ms between the families, one way or the other.
            net.set_leg(leg, RTT_MS / 4 + (10 if slower == 4 else 0), extra6_ms=10 if slower == 6 else -10)
        with running(net) as system:
            check(system, "direct")
            with Capture(net, "agent1", "eth0", "udp") as seen:
                transfer(system, 0.5)
            by_family = {6: len(seen.rows("ip6")), 4: len(seen.rows("ip"))}
        assert by_family[slower] < 0.2 * sum(by_family.values()), by_family


def time_to_direct_ms(system):
    """From a new Agent's first packet of a tunnel, for a user's first packet, to the first echo on the direct path, as its link
    shows them: the tunnel's handshake over the relay is in it."""
    net, agent = system.net, system.agent
    own = net.address("agent1")
    agent.process.kill9()
    agent.start().wait_ready()
    with Capture(net, "agent1", "eth0", "udp") as seen:
        with Meter(net, virtual4("lab"), pps=500, size=ECHO_SIZE) as meter:
            wait_path(agent, "direct", 10)

            def first(chosen):
                """When the first packet of that kind passed."""
                return next((when for when, source, destination, payload in seen.udp_packets()
                             if chosen(source[0], destination[0], payload)), None)

            def direct():
                return first(lambda source, _, payload: len(payload) in ECHO_ON_WIRE and
                             source[0] not in (INTERMEDIATE4, own))
            wait_for(direct, 5, "an echo on the direct path")
            meter.echoes()
        began = first(lambda _, destination, payload: destination == INTERMEDIATE4 and payload[:1] == b"\x2f")
    return 1000 * (direct() - began)


@pytest.mark.alone
@pytest.mark.parametrize("a,b,times", [
    ("port_restricted", "port_restricted", 10),
    *[pytest.param(a, b, 10, marks=pytest.mark.full) for a, b in (
        ("none", "none"), ("cgnat", "cgnat"), ("symmetric", "address_restricted"), ("full_cone", "symmetric"))]])
def test_time_to_direct(a, b, times):
    with Network(nat_a=a, nat_b=b, legs_ms=legs_for(RTT_MS), ipv6=False) as net, running(net) as system:
        found = sorted(time_to_direct_ms(system) for _ in range(times))
        print(f"time to direct {a} - {b}, ms: {' '.join(f'{ms:.0f}' for ms in found)}")
        assert statistics.median(found) < DIRECT_WITHIN_MS, found


BIRTHDAY = [("symmetric", "port_restricted"), ("port_restricted", "symmetric")]
BUDGET = 1024  # requests of one search, both ends together
# Beside them on the wire: answers, and 5 requests of each end to each of a few addresses in each ordinary session.
PROBES_BESIDE = 64 + 2 * 5 * 8


def searches(system):
    """(requests that birthday searches of both ends sent, what became of those that the Agent began)."""
    agent, connector = system.agent.metrics(), system.connector.metrics()
    ended = {key.split('"')[1]: int(value) for key, value in matching(agent, "^ztna_agent_birthday_searches_total").items()}
    return (int(total(agent, "ztna_agent_birthday_requests_sent_total")
                + total(connector, "ztna_connector_birthday_requests_sent_total")), ended)


def probes(seen, own):
    """{address: path probes sent there} of what a host with this address sent."""
    return collections.Counter(to[0] for _, source, to, payload in seen.udp_packets()
                               if source[0] == own and payload[:1] == b"\x1a")


@pytest.mark.parametrize("a,b", BIRTHDAY)
def test_birthday_search_keeps_its_budget(a, b):
    """Whether it finds a way is luck. That it is tried once, costs what it may, and bothers nobody else, is not."""
    with Network(nat_a=a, nat_b=b, legs_ms=legs_for(RTT_MS), ipv6=False) as net, \
            Capture(net, "agent1", "eth0", "udp") as of_agent, Capture(net, "connector", "eth0", "udp") as of_connector, \
            running(net) as system:
        said = check(system, "either")
        wait_for(lambda: way(system).get("birthday_search") in ("found", "failed"), 10, lambda: f"the end of a search: {way(system)}")
        requests, ended = searches(system)
        assert ended["found"] + ended["failed"] == 1, ended
        assert way(system)["birthday_search"] == ("found" if ended["found"] else "failed")
        assert 0 < requests <= BUDGET, requests
        ends = {"agent1": (of_agent, "natb"), "connector": (of_connector, "nata")}
        sent = {host: probes(seen, net.address(host)) for host, (seen, _) in ends.items()}
        for host, (_, nat) in ends.items():  # ordinary sessions try the hosts' inner addresses, too
            public = {address for address in sent[host] if not address.startswith("10.")}
            assert public <= {net.public_address(nat), INTERMEDIATE4}, sent
        there = sum(sent[host][net.public_address(nat)] for host, (_, nat) in ends.items())
        assert requests <= there <= BUDGET + PROBES_BESIDE, (requests, sent)
    print(f"{a} - {b}: {said}, {requests} probes")


@pytest.mark.full
@pytest.mark.parametrize("a,b", BIRTHDAY)
def test_symmetric_with_port_restricted_success_rate(a, b):
    """The birthday search has no guarantee: the rate over 20 tries is reported; connected is all that each must be."""
    direct, costs = 0, []
    with Network(nat_a=a, nat_b=b, legs_ms=legs_for(RTT_MS), ipv6=False) as net, running(net) as system:
        for _ in range(20):
            system.agent.process.kill9()
            system.agent.start().wait_ready()
            before = total(system.connector.metrics(), "ztna_connector_birthday_requests_sent_total")
            direct += check(system, "either") == "direct"
            wait_for(lambda: way(system).get("birthday_search") in ("found", "failed"), 10,
                     lambda: f"the end of a search: {way(system)}")
            requests, ended = searches(system)  # the Agent has just begun: its own are of this try
            costs.append(requests - int(before))
            assert ended["found"] + ended["failed"] == 1 and costs[-1] <= BUDGET, (ended, costs)
    print(f"{a} - {b}: {direct} of 20 direct, {statistics.median(costs):.0f} probes in the median, {max(costs)} at most")
