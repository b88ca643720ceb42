"""The kinds of NAT are what they say: mapping and filtering (RFC 4787) measured from outside with plain UDP sockets.

    agent1 -- nata (-- cgna) -- inet -- (cgnb --) natb -- connector
                                 |
                            intermediate: two addresses, two ports each; inet itself: two ports

No program of ours runs here. What two NATs let through when both sides punch is measured, too: tests/e2e/test_nat_matrix.py
requires the same of the product.
"""
import itertools
import select
import socket
import time

import pytest
from ztna_net.nats import KINDS
from ztna_net.topology import INTERMEDIATE4, INTERMEDIATE6, Network

SECOND4 = "198.18.3.3"  # of the intermediate
INET4 = "198.18.1.1"
PORTS = (6001, 6002)
INSIDE_PORT = 5000
QUIET = 0.06  # seconds; what is sent has arrived by then: here a packet crosses all hosts within the call that sends it

INDEPENDENT, DEPENDENT = "independent", "address and port dependent"
# kind -> (mapping, filtering)
EXPECTED = {
    "none": (INDEPENDENT, INDEPENDENT),
    "full_cone": (INDEPENDENT, INDEPENDENT),
    "address_restricted": (INDEPENDENT, "address dependent"),
    "port_restricted": (INDEPENDENT, DEPENDENT),
    "port_shifted": (INDEPENDENT, DEPENDENT),
    "symmetric": (DEPENDENT, DEPENDENT),
    "cgnat": (INDEPENDENT, DEPENDENT),
    "udp_blocked": (INDEPENDENT, DEPENDENT),
    "one_nat": (INDEPENDENT, DEPENDENT),
    "one_nat_hairpin": (INDEPENDENT, DEPENDENT),
    "one_nat_apart": (INDEPENDENT, DEPENDENT),
}
SAME_NETWORK = ("full_cone", "address_restricted", "port_restricted", "port_shifted", "symmetric", "udp_blocked")


class End:
    """A UDP socket in a host; whatever arrives is kept with its source."""

    def __init__(self, net, host, address="", port=0, family=socket.AF_INET):
        self.socket = net.socket(host, family=family)
        self.socket.bind((address, port))
        self.socket.setblocking(False)
        self.name = self.socket.getsockname()[:2]

    def send(self, to, text="hello"):
        self.socket.sendto(text.encode(), to)

    def receive(self, seconds=QUIET):
        """(text, source) of the next datagram, None when nothing comes."""
        if not select.select([self.socket], [], [], seconds)[0]:
            return None
        text, source = self.socket.recvfrom(2048)
        return text.decode(), source[:2]

    def close(self):
        self.socket.close()


class Outside:
    """Sockets on the public side."""

    def __init__(self, net):
        if SECOND4 not in net.run("intermediate", "ip", "addr"):
            net.run("intermediate", "ip", "addr", "add", SECOND4 + "/24", "dev", "wan")
        self.ends = {(a, p): End(net, host, a, p) for host, a in
                     (("intermediate", INTERMEDIATE4), ("intermediate", SECOND4), ("inet", INET4)) for p in PORTS}

    def seen(self, inside, to):
        """The source that the socket at `to` sees of what `inside` sends there; None: it does not arrive."""
        text = f"{time.monotonic_ns()}"
        inside.send(to, text)
        while (got := self.ends[to].receive()) is not None:
            if got[0] == text:
                return got[1]
        return None

    def arrives(self, outside, target, inside):
        """Whether what the socket at `outside` sends to `target` reaches `inside`."""
        text = f"{time.monotonic_ns()}"
        self.ends[outside].send(target, text)
        while (got := inside.receive()) is not None:
            if got[0] == text:
                return True
        return False

    def close(self):
        for end in self.ends.values():
            end.close()


def mapping(outside, inside):
    """(name of the behaviour, public address towards the first destination)."""
    seen = {to: outside.seen(inside, to) for to in outside.ends}
    passed = {to: source for to, source in seen.items() if source is not None}
    assert passed.get((INTERMEDIATE4, PORTS[0])), f"the Intermediate is out of reach: {seen}"
    assert {to: outside.seen(inside, to) for to in passed} == passed, "a mapping changed between two packets"
    by_address = {address: {source for to, source in passed.items() if to[0] == address} for address, _ in passed}
    if len(set(passed.values())) == 1:
        behaviour = INDEPENDENT
    elif all(len(sources) == 1 for sources in by_address.values()):
        behaviour = "address dependent"
    else:
        assert len(set(passed.values())) == len(passed), f"neither one thing nor the other: {passed}"
        behaviour = DEPENDENT
    return behaviour, passed[INTERMEDIATE4, PORTS[0]], set(passed)


def filtering(net, outside, host):
    """What may come in to a socket that sent to one address and port only."""
    inside = End(net, host)
    first = (INTERMEDIATE4, PORTS[0])
    public = outside.seen(inside, first)
    assert outside.arrives(first, public, inside), "the answer does not come back"
    other_port = outside.arrives((INTERMEDIATE4, PORTS[1]), public, inside)
    other_addresses = [outside.arrives((a, p), public, inside) for a in (SECOND4, INET4) for p in PORTS]
    assert outside.arrives(first, public, inside), "strangers' packets closed the mapping"
    inside.close()
    assert len(set(other_addresses)) == 1, "other addresses are treated differently"
    if other_addresses[0]:
        assert other_port
        return INDEPENDENT
    return "address dependent" if other_port else DEPENDENT


@pytest.fixture(scope="module")
def plain():
    with Network(ipv6=True) as net:
        yield net


def network_for(kind, plain, side):
    """A running network whose `side` (nata, natb) is of that kind; the plain one where that is possible."""
    if kind in SAME_NETWORK:
        plain.become(side, kind)
        return plain
    return Network(**{{"nata": "nat_a", "natb": "nat_b"}[side]: kind})


def sides(kind):
    return ["nata"] if KINDS[kind].shared else ["nata", "natb"]


@pytest.mark.parametrize("kind,side", [(k, s) for k in KINDS for s in sides(k)])
def test_mapping_and_filtering(kind, side, plain):
    own = network_for(kind, plain, side)
    with own if own is not plain else Borrowed(plain) as net:
        host = {"nata": "agent1", "natb": "connector"}[side]
        outside, inside = Outside(net), End(net, host, port=INSIDE_PORT)
        try:
            behaviour, public, reached = mapping(outside, inside)
            assert (behaviour, filtering(net, outside, host)) == EXPECTED[kind]
            if kind == "none":
                assert public == (net.address(host), INSIDE_PORT)
            else:
                assert public[0] == net.public_address(side)
                keeps = kind not in ("symmetric", "cgnat", "port_shifted")
                assert (public[1] == INSIDE_PORT) == keeps, public
            blocked = {to for to in outside.ends if to[0] != INTERMEDIATE4} if kind == "udp_blocked" else set()
            assert reached == set(outside.ends) - blocked
        finally:
            inside.close()
            outside.close()


class Borrowed:
    """A network that somebody else takes down."""

    def __init__(self, net):
        self.net = net

    def __enter__(self):
        return self.net

    def __exit__(self, *_):
        pass


@pytest.mark.parametrize("kind", ["full_cone", "address_restricted", "port_restricted", "port_shifted", "symmetric"])
def test_what_comes_too_early_spoils_no_mapping(kind, plain):
    """The peer's first punch arrives before ours left: the port that the Intermediate observed must stay ours."""
    plain.become("nata", kind)
    outside, inside = Outside(plain), End(plain, "agent1", port=INSIDE_PORT + 1)
    public = outside.seen(inside, (INTERMEDIATE4, PORTS[0]))
    came = outside.arrives((SECOND4, PORTS[0]), public, inside)
    assert came == (kind == "full_cone")
    towards = outside.seen(inside, (SECOND4, PORTS[0]))
    assert (towards == public) == (kind != "symmetric")
    assert outside.arrives((SECOND4, PORTS[0]), towards, inside)
    inside.close()
    outside.close()


@pytest.mark.parametrize("kind", ["full_cone", "address_restricted", "port_restricted", "symmetric", "cgnat"])
def test_rebinding_moves_every_mapping(kind, plain):
    own = network_for(kind, plain, "nata")
    with own if own is not plain else Borrowed(plain) as net:
        outside, inside = Outside(net), End(net, "agent1", port=INSIDE_PORT + 2)
        before = outside.seen(inside, (INTERMEDIATE4, PORTS[0]))
        net.rebind("nata")
        assert not outside.arrives((INTERMEDIATE4, PORTS[0]), before, inside), "the old mapping still works"
        behaviour, after, _ = mapping(outside, inside)
        assert after != before and behaviour == EXPECTED[kind][0]
        inside.close()
        outside.close()


@pytest.mark.parametrize("kind", [k for k in KINDS if KINDS[k].shared])
def test_behind_one_nat(kind):
    with Network(nat_a=kind) as net:
        outside, a, b = Outside(net), End(net, "agent1", port=INSIDE_PORT), End(net, "connector", port=INSIDE_PORT + 1)
        public_a, public_b = (outside.seen(end, (INTERMEDIATE4, PORTS[0])) for end in (a, b))
        assert public_a[0] == public_b[0] == net.public_address("nata")
        before = net.counters("packets")["direct"]
        a.send((net.address("connector"), INSIDE_PORT + 1), "by the LAN")
        assert (b.receive() == ("by the LAN", (net.address("agent1"), INSIDE_PORT))) == (kind == "one_nat")
        a.send(public_b, "turning round")
        assert (b.receive() == ("turning round", public_a)) == (kind == "one_nat_hairpin")
        b.send(public_a, "and back")
        assert (a.receive() == ("and back", public_b)) == (kind == "one_nat_hairpin")
        # Turned round packets and LAN packets are what the monitor counts as direct.
        assert (net.counters("packets")["direct"] > before)
        net.block_direct(True)
        for to in ((net.address("connector"), INSIDE_PORT + 1), public_b):
            a.send(to, "cut")
            assert b.receive() is None
        for end in (a, b, outside):
            end.close()


def test_ipv6_is_filtered_not_translated(plain):
    inside = End(plain, "agent1", "::", INSIDE_PORT, socket.AF_INET6)
    far = [End(plain, "intermediate", INTERMEDIATE6, p, socket.AF_INET6) for p in PORTS]
    inside.send(far[0].name)
    assert far[0].receive() == ("hello", (plain.address("agent1", 1), INSIDE_PORT))
    for end, comes in ((far[0], True), (far[1], False)):
        end.send((plain.address("agent1", 1), INSIDE_PORT), "in")
        assert (inside.receive() is not None) == comes
    for end in (inside, *far):
        end.close()


def test_a_network_without_ipv6():
    with Network(ipv6=False) as net:
        for host in ("agent1", "nata", "connector", "intermediate"):
            assert "scope global" not in net.run(host, "ip", "-6", "addr"), host


def punched(net):
    """Whether two sockets find each other when both send to the address that the Intermediate observed."""
    server = End(net, "intermediate", INTERMEDIATE4, 6010)
    ends = {"a": End(net, "agent1", port=5010), "b": End(net, "connector", port=5011)}
    observed, heard = {}, {"a": None, "b": None}
    try:
        for name, end in ends.items():
            end.send(server.name)
            observed[name] = server.receive()[1]
        for _ in range(4):
            for name, peer in (("a", "b"), ("b", "a")):
                # To where a packet came from, or else to where the Intermediate says.
                ends[name].send(heard[name] or observed[peer], name)
            for name in ends:
                while (got := ends[name].receive(0.01)) is not None:
                    heard[name] = got[1]
        return all(heard.values())
    finally:
        for end in (server, *ends.values()):
            end.close()


PUNCHED = ("full_cone", "address_restricted", "port_restricted", "symmetric", "udp_blocked")


def direct_is_possible(a, b):
    """Plain punching, without guessing of ports: what the issue requires."""
    if "udp_blocked" in (a, b):
        return False
    hard = ("port_restricted", "port_shifted", "cgnat", "symmetric")
    return not (a == "symmetric" and b in hard or b == "symmetric" and a in hard)


def test_which_pairs_can_be_punched(plain):
    found = {}
    for a, b in itertools.product(PUNCHED, PUNCHED):
        plain.become("nata", a)
        plain.become("natb", b)
        found[a, b] = punched(plain)
    assert found == {pair: direct_is_possible(*pair) for pair in found}


@pytest.mark.parametrize("a,b", [("none", "none"), ("none", "symmetric"), ("none", "udp_blocked"), ("cgnat", "cgnat"),
                                 ("cgnat", "symmetric"), ("port_restricted", "cgnat")])
def test_which_other_pairs_can_be_punched(a, b):
    with Network(nat_a=a, nat_b=b, ipv6=False) as net:
        assert punched(net) == direct_is_possible(a, b)
