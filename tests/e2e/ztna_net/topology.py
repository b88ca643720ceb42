"""The test network: eight namespaces, two NATs, an optional delay on each public leg.

    agent1 --+
             nata -- inet -- natb -- connector -- backend
    agent2 --+         |
                  intermediate

IPv4 is masqueraded at nata and natb; IPv6 is routed and only firewalled there (stateful: nothing comes in unasked).
inet is a plain router that knows the public links and, for IPv6, the two LANs; nobody but the connector host knows
the backend's network. Addresses are of 10/8, 198.18/15 and fd00::/8 and exist inside the namespaces only.

Every run has names of its own (zt-PID.N-HOST), so that two runs do not meet. A lock file per run tells whether its
owner lives; a new run removes what dead ones left.
"""
import fcntl
import glob
import itertools
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile

from .processes import Process, die_with_parent, sh

ROOT = pathlib.Path(__file__).resolve().parents[3]
PREFIX = "zt-"
LOCKS = "/run/lock"
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
}
BACKEND4, BACKEND6 = ADDRESS["backend"]
INTERMEDIATE4, INTERMEDIATE6 = ADDRESS["intermediate"]
# A second address of the backend host, from which no reply may be believed.
BACKEND4_OTHER = "10.20.1.3"

# Round trips asked for: agent-intermediate 20 ms, intermediate-connector 20 ms, direct 15 ms.
WAN_LEGS_MS = {"nata": 3.75, "natb": 3.75, "intermediate": 6.25}

MASQUERADE = {
    "cone": "masquerade persistent",  # keeps the source port: one mapping for all peers
    "symmetric": "masquerade random,fully-random",  # a new port for every peer
}

NAT_RULES = """
table ip nat {
  chain post {
    type nat hook postrouting priority srcnat;
    oifname "wan" %s
  }
}
table inet filter {
  # Dropping here, before conntrack confirms the flow, leaves no entry behind that would make a later outgoing punch
  # lose its port.
  chain input {
    type filter hook input priority filter;
    iifname "wan" ct state established,related accept
    iifname "wan" icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
    iifname "wan" drop
  }
  chain forward {
    type filter hook forward priority filter;
    iifname "wan" ct state established,related accept
    iifname "wan" drop
  }
}
"""

INET_RULES = """
table inet mon {
  counter direct { }
  counter relayed { }
  chain block { }
  chain direct {
    counter name direct
    jump block
  }
  chain forward {
    type filter hook forward priority filter;
    iifname "to-a" oifname "to-b" jump direct
    iifname "to-b" oifname "to-a" jump direct
    iifname "to-i" counter name relayed
    oifname "to-i" counter name relayed
  }
}
"""


def tools_folder():
    """build/tools, for what is made once; it belongs to whoever called sudo, so that they can remove it."""
    folder = ROOT / "build/tools"
    for path in (folder.parent, folder):
        if not path.exists():
            path.mkdir()
            if "SUDO_UID" in os.environ:
                os.chown(path, int(os.environ["SUDO_UID"]), int(os.environ["SUDO_GID"]))
    return folder


def delaylink_binary():
    """bench/delaylink.cpp, compiled when it is newer than its program."""
    source, binary = ROOT / "bench/delaylink.cpp", tools_folder() / "delaylink"
    if not binary.exists() or binary.stat().st_mtime < source.stat().st_mtime:
        fresh = binary.with_suffix(f".{os.getpid()}")
        sh("g++", "-O2", "-std=c++20", source, "-o", fresh)
        os.replace(fresh, binary)
    return str(binary)


def remove_namespace(name):
    sh("ip", "netns", "del", name, check=False)


def sweep():
    """Removes the namespaces of runs whose owner is dead (its lock is free), or that have no lock any more."""
    for line in sh("ip", "netns", "list").splitlines():
        name = line.split()[0]
        owner = re.match(re.escape(PREFIX) + r"(\d+)\.\d+-", name)
        if owner and owner[1] != str(os.getpid()) and not lock_is_held(owner[1]):
            remove_namespace(name)
    for path in glob.glob(f"{LOCKS}/{PREFIX}[0-9]*.lock"):
        owner = os.path.basename(path)[len(PREFIX):-len(".lock")]
        if owner != str(os.getpid()) and not lock_is_held(owner):
            try:
                os.unlink(path)
            except FileNotFoundError:
                pass


def lock_is_held(owner):
    try:
        with open(f"{LOCKS}/{PREFIX}{owner}.lock", "rb") as f:
            fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return False
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True


class Network:
    """`with Network() as net:` builds it; leaving the block, SIGTERM and Ctrl-C take it down again.

    legs_ms: one-way delay of the legs nata, natb and intermediate in milliseconds; nat_a, nat_b: cone or symmetric;
    drop: probability with which a leg with delaylink loses a packet.
    """

    _owner_lock = None
    _numbers = itertools.count(1)

    def __init__(self, nat_a="cone", nat_b="cone", legs_ms=None, drop=0.0, work=None):
        self.nats, self.legs_ms, self.drop = {"nata": nat_a, "natb": nat_b}, legs_ms or {}, drop
        self.number = next(self._numbers)
        self._temporary = None
        if work is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="zt-net-")
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
        os.makedirs(LOCKS, exist_ok=True)
        if Network._owner_lock is None:
            Network._owner_lock = open(f"{LOCKS}/{PREFIX}{os.getpid()}.lock", "w")
            fcntl.flock(Network._owner_lock, fcntl.LOCK_EX)
        sweep()
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
        for host in HOSTS:
            remove_namespace(self.namespace(host))
        if self._temporary:
            self._temporary.cleanup()

    # -- construction -------------------------------------------------------------------------------------------------

    def namespace(self, host):
        return f"{PREFIX}{os.getpid()}.{self.number}-{host}"

    def _up(self):
        for host in HOSTS:
            sh("ip", "netns", "add", self.namespace(host))
            # No waiting for duplicate address detection, no addresses that nobody wrote down.
            self.run(host, "sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0", "net.ipv6.conf.all.accept_dad=0",
                     "net.ipv6.conf.default.accept_ra=0")
            self.run(host, "ip", "link", "set", "lo", "up")
        for host in ("nata", "inet", "natb"):
            self.run(host, "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
        for n in ("1", "2"):
            self._veth("agent" + n, "eth0", ADDRESS["agent" + n], "nata", "lan" + n,
                       (f"10.10.{n}.1", f"fd00:a:{n}::1"))
        self._veth("connector", "eth0", ADDRESS["connector"], "natb", "lan", ("10.20.0.1", "fd00:b::1"))
        self._veth("backend", "eth0", ADDRESS["backend"], "connector", "eth1", ("10.20.1.1", "fd00:c::1"))
        self.run("backend", "ip", "addr", "add", BACKEND4_OTHER + "/24", "dev", "eth0")
        for n, host, inner in (("1", "nata", "to-a"), ("2", "natb", "to-b"), ("3", "intermediate", "to-i")):
            self._leg(host, ADDRESS[host], inner, (f"198.18.{n}.1", f"fd00:f:{n}::1"))
        for host, gateway4, gateway6 in (
                ("agent1", "10.10.1.1", "fd00:a:1::1"), ("agent2", "10.10.2.1", "fd00:a:2::1"),
                ("connector", "10.20.0.1", "fd00:b::1"), ("backend", "10.20.1.1", "fd00:c::1"),
                ("nata", "198.18.1.1", "fd00:f:1::1"), ("natb", "198.18.2.1", "fd00:f:2::1"),
                ("intermediate", "198.18.3.1", "fd00:f:3::1")):
            self.run(host, "ip", "route", "add", "default", "via", gateway4)
            self.run(host, "ip", "-6", "route", "add", "default", "via", gateway6)
        self.run("inet", "ip", "-6", "route", "add", "fd00:a::/32", "via", ADDRESS["nata"][1])
        self.run("inet", "ip", "-6", "route", "add", "fd00:b::/32", "via", ADDRESS["natb"][1])
        for host, kind in self.nats.items():
            self.nft(host, NAT_RULES % MASQUERADE[kind])
        self.nft("inet", INET_RULES)

    def _veth(self, host_a, if_a, address_a, host_b, if_b, address_b):
        sh("ip", "link", "add", if_a, "netns", self.namespace(host_a), "type", "veth",
           "peer", "name", if_b, "netns", self.namespace(host_b))
        self._address(host_a, if_a, address_a)
        self._address(host_b, if_b, address_b)

    def _leg(self, host, address, if_inet, address_inet):
        delay = self.legs_ms.get(host, 0)
        if not delay and not self.drop:
            self._veth(host, "wan", address, "inet", if_inet, address_inet)
            return
        link = Process([delaylink_binary(), self.namespace(host), "wan", self.namespace("inet"), if_inet, str(delay),
                        str(self.drop)], self.work / f"delaylink-{host}.log")
        self.processes.append(link)
        link.wait_log("ready", 5)
        self._address(host, "wan", address)
        self._address("inet", if_inet, address_inet)

    def _address(self, host, interface, address):
        self.run(host, "ip", "addr", "add", address[0] + "/24", "dev", interface)
        self.run(host, "ip", "-6", "addr", "add", address[1] + "/64", "dev", interface, "nodad")
        self.run(host, "ip", "link", "set", "dev", interface, "mtu", "1500", "up")

    # -- use ----------------------------------------------------------------------------------------------------------

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

    def spawn(self, host, *command, log=None, user=None):
        """Starts a daemon in `host`, without any privilege as `user` if one is named. Ends with the network."""
        wrapper = []
        if user:
            # A change of user clears the parent-death signal, so it is set again.
            wrapper = ["setpriv", "--pdeathsig", "KILL", "--reuid", user, "--regid", "nogroup", "--clear-groups", "--inh-caps=-all",
                        "--bounding-set=-all", "--no-new-privs"]
        process = Process(self.inside(host, *wrapper, *command), log or self.work / f"{host}.log")
        self.processes.append(process)
        return process

    def nft(self, host, rules):
        return sh(*self.inside(host, "nft", "-f", "-"), text_in=rules)

    def block_direct(self, on):
        """Drops everything between the two NATs at inet; the way over the intermediate stays."""
        self.nft("inet", "flush chain inet mon block\n" + ("add rule inet mon block drop\n" if on else ""))

    def counters(self):
        """Bytes that crossed inet so far: {"direct": ..., "relayed": ...}; a relayed packet crosses twice."""
        found = json.loads(self.run("inet", "nft", "-j", "list", "counters"))["nftables"]
        return {c["counter"]["name"]: c["counter"]["bytes"] for c in found if "counter" in c}

    def rebind(self, nat):
        """Gives every IPv4 flow through `nat` a new public port, as a router's restart does."""
        interface, gateway = "wan", {"nata": "198.18.1.1", "natb": "198.18.2.1"}[nat]
        gateway6 = {"nata": "fd00:f:1::1", "natb": "fd00:f:2::1"}[nat]
        self.run(nat, "nft", "flush", "ruleset")
        self.nft(nat, NAT_RULES % MASQUERADE["symmetric"])
        # Masquerading forgets its mappings when the interface goes down; routes and IPv6 addresses go with it.
        self.run(nat, "ip", "link", "set", interface, "down")
        self.run(nat, "ip", "link", "set", interface, "up")
        self.run(nat, "ip", "-6", "addr", "replace", ADDRESS[nat][1] + "/64", "dev", interface, "nodad")
        self.run(nat, "ip", "route", "replace", "default", "via", gateway)
        self.run(nat, "ip", "-6", "route", "replace", "default", "via", gateway6)

    def listening(self, host, protocol, port):
        """Whether something listens on that port in `host` (protocol: tcp or udp)."""
        table = self.run(host, "ss", "-Hln", "--" + protocol)
        return any(re.search(rf":{port}$", row.split()[3]) for row in table.splitlines() if len(row.split()) > 3)

    def connections(self, host, *filters):
        """Rows of `ss -Hn` for TCP in `host`."""
        return self.run(host, "ss", "-Hnt", *filters).splitlines()
