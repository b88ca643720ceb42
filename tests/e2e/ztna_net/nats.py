"""Kinds of NAT as nftables rule sets (RFC 4787's terms); tests/e2e/test_nat_kinds.py proves each from outside.

    kind                 mapping       filtering       how
    none                 -             -               a plain router; the hosts have public addresses
    full_cone            independent   independent     masquerade that keeps the port; a map of who has which port, for DNAT
    address_restricted   independent   address         the same, and DNAT only from addresses that were sent to
    port_restricted      independent   address, port   masquerade that keeps the port (conntrack filters)
    port_shifted         independent   address, port   source NAT to a port computed from the inner address and a seed
    symmetric            address, port address, port   masquerade with a random port for each destination
    cgnat                independent   address, port   port_restricted at the home router, port_shifted at the carrier's
    udp_blocked          independent   address, port   port_restricted that lets UDP pass to the Intermediate only
    one_nat              independent   address, port   both ends in LANs behind it that reach each other; no hairpin
    one_nat_hairpin      independent   address, port   the LANs are kept apart, packets to the own public address turn round
    one_nat_apart        independent   address, port   the LANs are kept apart, no hairpin: nothing direct is possible

All of them are plain nftables: masquerading alone gives port_restricted and symmetric, `dynamic` maps that the packets
going out fill give the rest. So a port belongs to one inner host: two hosts that bind the same port behind one full or
restricted cone would share it, which no test does.

IPv6 is not translated; it is filtered statefully by all kinds but none (nothing comes in unasked).
"""
import dataclasses

MAPPING_SECONDS = 120

PORT_KEPT = 'oifname "wan" masquerade persistent'

FILTER = """
table inet filter {
  chain input {
    type filter hook input priority filter;
    iifname "wan" ct state established,related accept
    iifname "wan" icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
    # Dropping here, before conntrack confirms the flow, leaves no entry behind that would make a later outgoing punch
    # lose its port.
    iifname "wan" drop
    %(input)s
  }
  chain forward {
    type filter hook forward priority filter;
    iifname "wan" ct state established,related accept
    iifname "wan" ct status dnat accept
    iifname "wan" drop
    %(forward)s
  }
}
"""

NAT = """
table ip nat {
  %(sets)s
  chain pre {
    type nat hook prerouting priority dstnat;
    %(pre)s
  }
  chain post {
    type nat hook postrouting priority srcnat;
    %(post)s
  }
  # After source NAT: the source port is the public one here, conntrack still knows the inner one.
  chain after {
    type filter hook postrouting priority 300;
    %(after)s
  }
}
"""

# A table must be there to be deleted.
EMPTY = "table ip nat\ndelete table ip nat\ntable inet filter\ndelete table inet filter\n"

OWNERS = """
  map owner {
    type inet_service : ipv4_addr . inet_service
    size 65535
    flags dynamic,timeout
    timeout %ds
  }
""" % MAPPING_SECONDS

# In flows that began outside (full cone) the inner host is the one that replies.
NOTE_OWNER = """
    oifname "wan" ct direction original update @owner { udp sport : ct original ip saddr . ct original proto-src }
    oifname "wan" ct direction reply update @owner { udp sport : ct reply ip saddr . ct reply proto-src }
"""

SENT_TO = """
  set sent_to {
    type inet_service . ipv4_addr
    size 65535
    flags dynamic,timeout
    timeout %ds
  }
""" % MAPPING_SECONDS

APART = 'iifname "lan*" oifname "lan*" ct status dnat accept\n    iifname "lan*" oifname "lan*" drop'


def shifted(seed):
    """Rule: the public port depends on the inner address and port, and on the seed, only."""
    # A map and not `offset`: newer nftables takes no plain number for a port.
    ports = ", ".join(f"{i} : {20000 + i}" for i in range(SHIFTED_PORTS))
    port = f"jhash ip saddr . udp sport mod {SHIFTED_PORTS} seed {seed} map {{ {ports} }}"
    return f'oifname "wan" meta l4proto udp snat to PUBLIC:{port}'


SHIFTED_PORTS = 4096


@dataclasses.dataclass(frozen=True)
class Kind:
    """What a NAT does; the texts are nftables rules in which PUBLIC stands for the router's public address."""
    pre: str = ""
    post: str = PORT_KEPT
    after: str = ""
    sets: str = ""
    input: str = ""
    forward: str = ""
    public: bool = False  # no translation: the hosts behind it have public addresses
    shared: bool = False  # the Connector lives behind it, too
    carrier: str = ""  # kind of a second NAT between this one and the internet
    seed: int = 0  # of shifted ports; 0: ports are kept


KINDS = {
    "none": Kind(post="", public=True),
    "full_cone": Kind(sets=OWNERS, after=NOTE_OWNER, pre='iifname "wan" dnat to udp dport map @owner'),
    "address_restricted": Kind(sets=OWNERS + SENT_TO,
                               after=NOTE_OWNER + 'oifname "wan" update @sent_to { udp sport . ip daddr }',
                               pre='iifname "wan" udp dport . ip saddr @sent_to dnat to udp dport map @owner'),
    "port_restricted": Kind(),
    "port_shifted": Kind(seed=1),
    "symmetric": Kind(post='oifname "wan" masquerade random,fully-random'),
    "cgnat": Kind(carrier="port_shifted"),
    "udp_blocked": Kind(forward='oifname "wan" meta l4proto udp ip daddr != INTERMEDIATE4 drop\n'
                                '    oifname "wan" meta l4proto udp ip6 daddr != INTERMEDIATE6 drop'),
    "one_nat": Kind(shared=True, input='iifname "lan*" ip daddr PUBLIC meta l4proto udp drop'),
    "one_nat_hairpin": Kind(
        shared=True, sets=OWNERS, after=NOTE_OWNER, forward=APART,
        pre='iifname "lan*" ip daddr PUBLIC dnat to udp dport map @owner',
        input='iifname "lan*" ip daddr PUBLIC meta l4proto udp drop',
        # The other end must see the public address (RFC 4787, REQ-9).
        post=f'oifname "lan*" ct status dnat snat to PUBLIC\n    {PORT_KEPT}'),
    "one_nat_apart": Kind(shared=True, forward=APART, input='iifname "lan*" ip daddr PUBLIC meta l4proto udp drop'),
}
ALIASES = {"cone": "port_restricted"}


def kind_of(name):
    return KINDS[ALIASES.get(name, name)]


def rules(name, public, intermediate, seed=0):
    """The nftables program of a router of that kind whose public IPv4 address is `public`.

    intermediate: the Intermediate's (IPv4, IPv6); seed: another one gives every inner address and port another public
    port (0: kept, where the kind keeps them). Loading it replaces what was loaded before; mappings in use stay.
    """
    kind = kind_of(name)
    if kind.public:
        return EMPTY
    seed += kind.seed
    text = EMPTY + NAT % dataclasses.asdict(kind) + FILTER % dataclasses.asdict(kind)
    if seed:
        text = text.replace(PORT_KEPT, f"{shifted(seed)}\n    {PORT_KEPT}")
    return (text.replace("PUBLIC", public).replace("INTERMEDIATE4", intermediate[0])
            .replace("INTERMEDIATE6", intermediate[1]))
