"""The test network: eight namespaces, two NATs, an optional delay on each public leg.

    agent1 --+
             nata -- inet -- natb -- connector -- backend
    agent2 --+         |
                  intermediate

IPv4 is masqueraded at nata and natb (nats.py has other kinds); IPv6 is routed and only firewalled there (stateful:
nothing comes in unasked). inet is a plain router that knows the public links and, for IPv6, the two LANs; nobody but the
connector host knows the backend's network. Addresses are of 10/8, 100.64/10, 198.18/15 and fd00::/8 and exist inside the
namespaces only. Two kinds of NAT change the picture:

    agent1 -- nata -- cgna -- inet ...           cgnat: a carrier's NAT behind the home router's (cgnb on the other side)

    agent1 -- nata -- inet                       one_nat...: the connector host is behind the Agents' NAT, too
               |        |
           connector  intermediate

`Network(second=True)` adds another public host, intermediate2, on a link of its own beside the first.
"""
import contextlib
import ctypes
import ipaddress
import itertools
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile

from . import nats
from .built import ROOT, compiled, tools_folder
from .conntrack import forget_all
from .leftovers import FOLDER_PREFIX, PREFIX, claim, remove_namespace
from .processes import Process, die_with_parent, sh

__all__ = ["ROOT", "Network", "tools_folder"]  # and the constants below
HOSTS = ("agent1", "agent2", "nata", "inet", "natb", "connector", "backend", "intermediate")

# host -> (IPv4, IPv6) of its main interface
ADDRESS = {
    "agent1": ("10.10.1.2", "fd00:a:1::2"),
    "agent2": ("10.10.2.2", "fd00:a:2::2"),
    "nata": ("198.18.1.2", "fd00:f:1::2"),
    "natb": ("198.18.2.2", "fd00:f:2::2"),
    "connector": ("10.20.0.2", "fd00:b::2"),
    "backend": ("10.20.1.2", "fd00:c::2"),
    "intermediate": ("198.18.3.2", "fd00:f:3::2"),
    "intermediate2": ("198.18.4.2", "fd00:f:4::2"),
}
BACKEND4, BACKEND6 = ADDRESS["backend"]
INTERMEDIATE4, INTERMEDIATE6 = ADDRESS["intermediate"]
SECOND4, SECOND6 = ADDRESS["intermediate2"]
# A second address of the backend host, from which no reply may be believed.
BACKEND4_OTHER = "10.20.1.3"

# Round trips asked for: agent-intermediate 20 ms, intermediate-connector 20 ms, direct 15 ms.
WAN_LEGS_MS = {"nata": 3.75, "natb": 3.75, "intermediate": 6.25}

# What replaces an address behind a router without NAT, and between a home router and its carrier's NAT.
PUBLIC_LAN = {"agent1": "198.18.11.2", "agent2": "198.18.12.2", "connector": "198.18.21.2"}
CARRIER_LINK = {"nata": ("100.64.1.2", "fd00:64:1::2"), "natb": ("100.64.2.2", "fd00:64:2::2")}
CARRIER = {"nata": "cgna", "natb": "cgnb"}

# Counts what goes directly between the two sides and what crosses the Intermediates' links, and can cut the first.
MONITOR = """
table inet mon {
  counter direct { }
  counter relayed { }
  chain block { }
  chain direct {
    counter name direct
    jump block
  }
  chain forward {
    type filter hook forward priority -10;
    iifname %(a)s oifname %(b)s jump direct
    iifname %(b)s oifname %(a)s jump direct
    iifname { "to-i", "to-i2" } counter name relayed
    oifname { "to-i", "to-i2" } counter name relayed
  }
}
"""
# Without and with a NAT that both sides share: where the monitor is, and the sides' interfaces there.
MONITOR_AT = {False: ("inet", {"a": '"to-a"', "b": '"to-b"'}), True: ("nata", {"a": '{ "lan1", "lan2" }', "b": '"lan3"'})}

# Ways to cut the direct path. 1208: the UDP header and 1,200 octets.
BLOCKS = {"both": "drop", "a-to-b": "iifname %(a)s drop", "b-to-a": "iifname %(b)s drop",
          "large": "udp length > 1208 drop", "ipv4": "meta nfproto ipv4 drop", "ipv6": "meta nfproto ipv6 drop"}

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def network_of(address, prefix):
    return str(ipaddress.ip_network(f"{address}/{prefix}", strict=False))


def enter(namespace):
    if _libc.setns(namespace.fileno(), CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


class Network:
    """`with Network() as net:` builds it; leaving the block, SIGTERM and Ctrl-C take it down again.

    legs_ms: one-way delay of the legs nata, natb and intermediate in milliseconds; nat_a, nat_b: kinds of nats.py (one
    that both sides share is named as nat_a, nat_b has no meaning then); drop: probability with which a leg with
    delaylink loses a packet; ipv6: False leaves the hosts without global IPv6 addresses; second: with a second public
    host for an Intermediate.
    """

    _numbers = itertools.count(1)

    def __init__(self, nat_a="cone", nat_b="cone", legs_ms=None, drop=0.0, work=None, ipv6=True, second=False):
        self.shared = nats.kind_of(nat_a).shared
        self.nats = {"nata": nat_a} if self.shared else {"nata": nat_a, "natb": nat_b}
        self.legs_ms, self.drop, self.ipv6 = legs_ms or {}, drop, ipv6
        self.carriers = [nat for nat in self.nats if nats.kind_of(self.nats[nat]).carrier]
        self.hosts = [h for h in HOSTS if h != "natb" or "natb" in self.nats] + [CARRIER[nat] for nat in self.carriers]
        if second:
            self.hosts.append("intermediate2")
        self._addresses = dict(ADDRESS)
        for nat, behind in (("nata", ("agent1", "agent2")), ("natb", ("connector",))):
            if nat in self.nats and nats.kind_of(self.nats[nat]).public:
                self._addresses.update({h: (PUBLIC_LAN[h], ADDRESS[h][1]) for h in behind})
        for nat in self.carriers:
            self._addresses.update({CARRIER[nat]: ADDRESS[nat], nat: CARRIER_LINK[nat]})
        self._seeds = dict.fromkeys(self.nats, 0)
        self.number = next(self._numbers)
        self._temporary = None
        if work is None:
            self._temporary = tempfile.TemporaryDirectory(prefix=FOLDER_PREFIX)
            work = self._temporary.name
        self.work = pathlib.Path(work)
        # Daemons that dropped their privileges read certificates and write state below it.
        os.chmod(self.work, 0o755)
        self.processes = []
        self._folders = {}
        self.keep = False

    def __enter__(self):
        if os.geteuid():
            raise RuntimeError("needs root: this makes network namespaces and TUN devices")
        if not os.path.exists("/dev/net/tun"):
            raise RuntimeError("/dev/net/tun is missing: load the tun module (modprobe tun)")
        if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
            signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))  # so that __exit__ runs
        claim()
        try:
            self._up()
        except BaseException:
            self.down()
            raise
        return self

    def __exit__(self, *_):
        if not self.keep:
            self.down()

    def down(self):
        """Ends every process and removes every namespace of this network."""
        for process in reversed(self.processes):
            process.stop(2.0)
        self.processes.clear()
        for host in self.hosts:
            remove_namespace(self.namespace(host))
        if self._temporary:
            self._temporary.cleanup()

    # -- construction -------------------------------------------------------------------------------------------------

    def namespace(self, host):
        return f"{PREFIX}{os.getpid()}.{self.number}-{host}"

    def _up(self):
        routers = ["inet", *self.nats, *(CARRIER[nat] for nat in self.carriers)]
        for host in self.hosts:
            sh("ip", "netns", "add", self.namespace(host))
            # No waiting for duplicate address detection, no addresses that nobody wrote down.
            settings = ["net.ipv6.conf.default.accept_dad=0", "net.ipv6.conf.all.accept_dad=0",
                        "net.ipv6.conf.default.accept_ra=0"]
            if host in routers:
                settings += ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"]
            self.run(host, "sysctl", "-qw", *settings)
            self.run(host, "ip", "link", "set", "lo", "up")
        for n in ("1", "2"):
            self._lan("agent" + n, "nata", "lan" + n)
        self._lan("connector", *(("nata", "lan3") if self.shared else ("natb", "lan")))
        self._lan("backend", "connector", "eth1")
        self.run("backend", "ip", "addr", "add", BACKEND4_OTHER + "/24", "dev", "eth0")
        for host, inner in (("nata", "to-a"), ("natb", "to-b"), ("intermediate", "to-i"), ("intermediate2", "to-i2")):
            if host in self.carriers:
                self._lan(host, CARRIER[host], "lan", "wan")
            if host in self.hosts:
                self._leg(self.outermost(host), host, inner)
        for nat in self.nats:
            self._routes_to(nat)
            self.apply_nat(nat)
        host, sides = MONITOR_AT[self.shared]
        self.nft(host, MONITOR % sides)
        if self.shared:
            self.nft("inet", MONITOR % MONITOR_AT[False][1])

    def _routes_to(self, nat):
        """Teaches inet, and a carrier's NAT, what lies behind `nat`: IPv6 LANs, and IPv4 ones with public addresses."""
        behind = [("agent1", "agent2")] if nat == "nata" else []
        behind += [("connector",)] if nat == "natb" or self.shared else []
        hosts = [h for group in behind for h in group]
        outer = self.outermost(nat)
        hops = [("inet", outer)] + ([(outer, nat)] if outer != nat else [])
        for router, via in hops:
            for host in hosts:
                address4, address6 = self.address(host), self.address(host, 1)
                if self.ipv6:
                    self.run(router, "ip", "-6", "route", "add", network_of(address6, 64), "via", self.address(via, 1))
                if address4.startswith("198.18."):
                    self.run(router, "ip", "route", "add", network_of(address4, 24), "via", self.address(via))

    def apply_nat(self, nat):
        """(Re)loads the rules of nata or natb, and of the carrier's NAT behind it."""
        intermediate, name = ADDRESS["intermediate"], self.nats[nat]
        self.nft(nat, nats.rules(name, self.address(nat), intermediate, self._seeds[nat]))
        if nat in self.carriers:
            carrier = nats.kind_of(name).carrier
            self.nft(CARRIER[nat], nats.rules(carrier, self.public_address(nat), intermediate, self._seeds[nat]))

    def _lan(self, host, router, interface, own="eth0"):
        """Joins `own` of `host` with `interface` of `router`, which is its default gateway (address .1)."""
        address = self._addresses[host]
        gateway = (address[0].rsplit(".", 1)[0] + ".1", address[1].rsplit("::", 1)[0] + "::1")
        self._veth(host, own, address, router, interface, gateway)
        self._default_route(host, gateway)

    def _default_route(self, host, gateway):
        self.run(host, "ip", "route", "replace", "default", "via", gateway[0])
        if self.ipv6:
            self.run(host, "ip", "-6", "route", "replace", "default", "via", gateway[1])

    def _veth(self, host_a, if_a, address_a, host_b, if_b, address_b):
        sh("ip", "link", "add", if_a, "netns", self.namespace(host_a), "type", "veth",
           "peer", "name", if_b, "netns", self.namespace(host_b))
        self._address(host_a, if_a, address_a)
        self._address(host_b, if_b, address_b)

    @contextlib.contextmanager
    def second_uplink(self, host="agent1"):
        """eth1 of `host` at inet, without a NAT, with the address that is given out; eth0 stays in use until move_uplink()."""
        address, gateway = ("198.18.19.2", "fd00:f:19::2"), ("198.18.19.1", "fd00:f:19::1")
        self._veth(host, "eth1", address, "inet", "to-m", gateway)
        try:
            yield address[0]
        finally:
            self.run(host, "ip", "link", "set", "eth0", "up")
            own = self._addresses[host]
            self._default_route(host, (own[0].rsplit(".", 1)[0] + ".1", own[1].rsplit("::", 1)[0] + "::1"))
            self.run(host, "ip", "link", "del", "eth1")

    def move_uplink(self, host="agent1"):
        """From eth0, which goes down, to the second uplink: as from a wire to another network's radio."""
        self.run(host, "bash", "-c", "ip link set eth0 down; ip route replace default via 198.18.19.1 dev eth1")

    def _leg(self, host, leg, if_inet):
        """The public link of `host`, with the delay that is asked for `leg`."""
        address, delay = self._addresses[host], self.legs_ms.get(leg, 0)
        gateway = (address[0].rsplit(".", 1)[0] + ".1", address[1].rsplit("::", 1)[0] + "::1")
        if not delay and not self.drop:
            self._veth(host, "wan", address, "inet", if_inet, gateway)
        else:
            # A link has no share of the machine's load: a busy machine must not add to its delay.
            command = ["nice", "-n", "-10", compiled("delaylink"), self.namespace(host), "wan", self.namespace("inet"), if_inet, delay, self.drop,
                       self._leg_control(leg)]
            link = Process(command, self.work / f"delaylink-{leg}.log")
            self.processes.append(link)
            link.wait_log("ready", 5)
            self._address(host, "wan", address)
            self._address("inet", if_inet, gateway)
            for end, interface in ((host, "wan"), ("inet", if_inet)):
                # The 500 packets of a TUN device by default are less than a burst of slow start on a busy machine.
                self.run(end, "ip", "link", "set", "dev", interface, "txqueuelen", "10000")
        self._default_route(host, gateway)

    def _leg_control(self, leg):
        path = self.work / f"delaylink-{leg}.fifo"
        if not path.exists():
            os.mkfifo(path)
        return path

    def _address(self, host, interface, address):
        self.run(host, "ip", "addr", "add", address[0] + "/24", "dev", interface)
        if self.ipv6:
            self.run(host, "ip", "-6", "addr", "add", address[1] + "/64", "dev", interface, "nodad")
        self.run(host, "ip", "link", "set", "dev", interface, "mtu", "1500", "up")

    # -- use ----------------------------------------------------------------------------------------------------------

    def address(self, host, family=0):
        """The address of the host's main interface: family 0 IPv4, 1 IPv6."""
        return self._addresses[host][family]

    def outermost(self, nat):
        """The router of that side that has the public address."""
        return CARRIER[nat] if nat in self.carriers else nat

    def public_address(self, nat):
        """What the internet sees of the hosts behind `nat` (where they have no public address of their own)."""
        return self.address(self.outermost(nat))

    def folder(self, name):
        """A path of its own below `work` for each call: name, then name-2, name-3, ..."""
        number = self._folders[name] = self._folders.get(name, 0) + 1
        return self.work / (name if number == 1 else f"{name}-{number}")

    def inside(self, host, *command):
        """The command line that runs `command` in `host`."""
        # Not `ip netns exec`: that remounts /sys, which fails where / is no mount point (a chroot, some containers).
        return ["nsenter", f"--net=/run/netns/{self.namespace(host)}", "--", *map(str, command)]

    def run(self, host, *command, check=True, timeout=120):
        """Runs it in `host`, returns its standard output; a failure raises RuntimeError unless check is off."""
        return sh(*self.inside(host, *command), check=check, timeout=timeout)

    def attempt(self, host, *command, timeout=120):
        """Runs it in `host` and returns the CompletedProcess, whatever came of it."""
        return subprocess.run(self.inside(host, *command), capture_output=True, text=True, timeout=timeout)

    def popen(self, host, *command, **options):
        """Starts it in `host` with pipes; for clients that a test waits for."""
        return subprocess.Popen(self.inside(host, *command), preexec_fn=die_with_parent(), **options)

    def spawn(self, host, *command, log=None, user=None, names=None):
        """Starts a daemon in `host`, without any privilege as `user` if one is named. Ends with the network. `names`: a file that
        it sees as /etc/hosts."""
        wrapper = []
        if names:
            wrapper = ["unshare", "--mount", "--", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', names]
        if user:
            # A change of user clears the parent-death signal, so it is set again.
            wrapper += ["setpriv", "--pdeathsig", "KILL", "--reuid", user, "--regid", "nogroup", "--clear-groups", "--inh-caps=-all",
                        "--bounding-set=-all", "--no-new-privs"]
        process = Process(self.inside(host, *wrapper, *command), log or self.work / f"{host}.log")
        self.processes.append(process)
        return process

    def nft(self, host, rules):
        return sh(*self.inside(host, "nft", "-f", "-"), text_in=rules)

    def block_direct(self, how):
        """Cuts what goes between the two sides past the Intermediate: True, False, or a name of BLOCKS."""
        rule = {True: BLOCKS["both"], False: None, None: None}[how] if how in (True, False, None) else BLOCKS[how]
        host, sides = MONITOR_AT[self.shared]
        self.nft(host, "flush chain inet mon block\n" + (f"add rule inet mon block {rule % sides}\n" if rule else ""))

    def counters(self, unit="bytes"):
        """What crossed so far, bytes or packets: {"direct": ..., "relayed": ...}; a relayed packet crosses twice."""
        total = {"direct": 0, "relayed": 0}
        for host in {"inet", MONITOR_AT[self.shared][0]}:
            for c in json.loads(self.run(host, "nft", "-j", "list", "counters"))["nftables"]:
                if "counter" in c:
                    total[c["counter"]["name"]] += c["counter"][unit]
        return total

    def forget(self, nat):
        """Drops every mapping of `nat`. Those of a program that was killed stay for 120 s, and one time in 4,096 the port of the
        next one falls on the same public port: its packets are then dropped."""
        with self.within(nat):
            forget_all()

    def rebind(self, nat):
        """Gives every IPv4 flow through `nat` a new public port, as a router's restart does. It stays of its kind."""
        if nats.kind_of(self.nats[nat]).public:
            raise ValueError(f"{nat} does not translate")
        self._seeds[nat] += 1
        self.apply_nat(nat)
        for router in {nat, self.outermost(nat)}:
            self.forget(router)

    def become(self, nat, name):
        """Turns a translating NAT into another kind, without any mapping left. Not for kinds of another topology."""
        for kind in map(nats.kind_of, (name, self.nats[nat])):
            if kind.public or kind.shared or kind.carrier:
                raise ValueError(f"{nat}: {self.nats[nat]} cannot become {name} while it runs")
        self.nats[nat] = name
        self.apply_nat(nat)
        self.forget(nat)

    def set_leg(self, leg, delay_ms, drop=0.0, extra6_ms=0.0):
        """Changes one-way delay and loss of a leg that was built with a delay; extra6_ms: what IPv6 is later than IPv4."""
        with open(self._leg_control(leg), "w") as control:
            control.write(f"{delay_ms} {drop} {extra6_ms}\n")

    @contextlib.contextmanager
    def within(self, host):
        """Moves this thread into `host` for a while: sockets that it opens there stay there."""
        with open("/proc/thread-self/ns/net") as home, open(f"/run/netns/{self.namespace(host)}") as target:
            enter(target)
            try:
                yield
            finally:
                enter(home)

    def socket(self, host, kind=socket.SOCK_DGRAM, family=socket.AF_INET):
        """A socket in `host`."""
        with self.within(host):
            return socket.socket(family, kind)

    def listening(self, host, protocol, port):
        """Whether something listens on that port in `host` (protocol: tcp or udp)."""
        table = self.run(host, "ss", "-Hln", "--" + protocol)
        return any(re.search(rf":{port}$", row.split()[3]) for row in table.splitlines() if len(row.split()) > 3)

    def connections(self, host, *filters):
        """Rows of `ss -Hn` for TCP in `host`."""
        return self.run(host, "ss", "-Hnt", *filters).splitlines()
