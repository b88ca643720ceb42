"""What does not fit: who is told, what is cut, and what passes a path that silently drops large packets.

    agent1 -- TUN -- nata -- inet -- natb -- connector -- backend
              1,280            ||              1,400 for some tests
              or 9,000    intermediate

An application that asks for no fragments (DF; IPv6 always) hears ICMP "fragmentation needed" or ICMPv6 "packet too big" with
the MTU that is right for its own packets; from its own kernel where the TUN is too narrow, from the Connector where the way to
the backend is. Everybody else's packets are cut.
"""
import hashlib

import pytest
from ztna_net.backends import ECHO_PORT, INSIDE, PYTHON, Backends, client, curl
from ztna_net.capture import Capture
from ztna_net.configs import virtual4, virtual6
from ztna_net.failover import legs_for, page_of
from ztna_net.metrics import increases, matching
from ztna_net.paths import measured_path, path_of, quick_status
from ztna_net.processes import sh, wait_for
from ztna_net.system import System
from ztna_net.topology import BACKEND4, BACKEND6, Network

TUN_MTU = 1280
HEADERS = {virtual4: 28, virtual6: 48}
NARROW = 1400  # the way from the Connector to the backend


def probes(system, address, *sizes):
    return client(system.net, "agent1", "mtu_probe.py", address, ECHO_PORT, *sizes)


@pytest.mark.parametrize("address", [virtual4, virtual6])
def test_datagram_above_the_tuns_mtu(system, address):
    fits = TUN_MTU - HEADERS[address]
    over, at = probes(system, address("echo"), fits + 1, fits)
    assert over == {"size": fits + 1, "errno": "EMSGSIZE", "origin": "local", "mtu": TUN_MTU}
    assert at == {"size": fits, "reply": fits}


@pytest.mark.parametrize("address", [virtual4, virtual6])
def test_ping_above_the_tuns_mtu(system, address):
    def ping(size):
        return system.net.attempt("agent1", "ping", "-n", "-M", "do", "-c", "1", "-W", "3", "-s", size, address("echo"))
    fits = TUN_MTU - HEADERS[address]  # an echo's header is as long as that of UDP
    refused = ping(fits + 1)
    said = (refused.stdout + refused.stderr).replace("mtu: ", "mtu=")  # in the words of this or that ping
    assert refused.returncode and (f"mtu={TUN_MTU}" in said or "Message too long" in said), refused
    assert ping(fits).returncode == 0


def syns(capture):
    """{"S" or "S.": maximum segment size} of the handshake that was caught."""
    found = {}
    for row in capture.rows():
        if "Flags [S" in row and "mss " in row:
            found[row.split("Flags [")[1].split("]")[0]] = int(row.split("mss ")[1].split(",")[0].split("]")[0])
    return found


@pytest.mark.parametrize("address", [virtual4, virtual6])
def test_tcp_segments_fit_both_sides(system, address):
    header = HEADERS[address] + 12  # TCP's is longer than UDP's
    with Capture(system.net, "agent1", "ztna0", f"host {address('web')} and tcp") as user, \
            Capture(system.net, "backend", "eth0", "tcp port 80") as server:
        assert curl(system.net, "agent1", f"http://[{address('web')}]/" if address is virtual6 else
                    f"http://{address('web')}/").returncode == 0
        user.wait_contains(b"HTTP/1.1 200")
        server.wait_contains(b"HTTP/1.1 200")
        assert syns(user) == {"S": TUN_MTU - header, "S.": TUN_MTU - header}
        assert syns(server) == {"S": 1500 - 40, "S.": 1500 - 40}, "of the Connector's own link, over IPv4"


@pytest.fixture(scope="module")
def wide_tun():
    """TUN of 9,000 octets, and a way to the backend that takes 1,400."""
    with Network() as net:
        Backends(net, big=False)
        for backend in (BACKEND4, BACKEND6):
            net.run("connector", "ip", "route", "replace", backend, "dev", "eth1", "mtu", NARROW)
        with System(net, services=("echo", "echo6"), agent={"mtu": 9000}) as system:
            yield system


# Who hears what: the Connector's way to the backend in octets, reckoned with the user's header in place of the backend's.
TOLD = {(virtual4, "echo"): NARROW, (virtual6, "echo6"): NARROW, (virtual4, "echo6"): NARROW - 20, (virtual6, "echo"): NARROW + 20}


@pytest.mark.parametrize("address,service", sorted(TOLD, key=str))
def test_datagram_above_the_backends_mtu(wide_tun, address, service):
    mtu, virtual = TOLD[address, service], address(service)
    fits = mtu - HEADERS[address]
    before = wide_tun.connector.metrics()
    over, at, again = probes(wide_tun, virtual, 4000, fits, fits + 1)
    kind = {"type": 3, "code": 4} if address is virtual4 else {"type": 2, "code": 0}
    assert over == {"size": 4000, "errno": "EMSGSIZE", "origin": "icmp", "mtu": mtu, "from": virtual, **kind}
    assert at == {"size": fits, "reply": fits}
    assert again == {"size": fits + 1, "errno": "EMSGSIZE", "origin": "local", "mtu": mtu}, "the user's kernel has learned it"
    grown = matching(increases(before, wide_tun.connector.metrics()), "backend_too_large|error_sent")
    assert sorted(grown.values()) == [1, 1], grown


@pytest.mark.parametrize("address,service", sorted(TOLD, key=str))
def test_datagrams_that_may_be_cut_arrive_whole(wide_tun, address, service):
    """Above the TUN's MTU: so the user's kernel cuts them itself, and the first one arrives."""
    done = client(wide_tun.net, "agent1", "udp_client.py", "sizes", address(service), ECHO_PORT, 8973, 20000, 65507)
    assert len(done["results"]) == 12 and not done["bad"], done["bad"]


VAULT4, VAULT6 = "10.20.2.2", "fd00:d::2"


@pytest.fixture(scope="module")
def behind_a_router():
    """The backend host is a router here, and behind it stands another one, with the same echo, on a link of 1,300 octets."""
    with Network() as net:
        sh("ip", "netns", "add", net.namespace("vault"))
        net.hosts.append("vault")
        net.run("backend", "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
        net.run("vault", "ip", "link", "set", "lo", "up")
        net._veth("vault", "eth0", (VAULT4, VAULT6), "backend", "eth1", ("10.20.2.1", "fd00:d::1"))
        for host, interface in (("vault", "eth0"), ("backend", "eth1")):
            net.run(host, "ip", "link", "set", "dev", interface, "mtu", 1300)
        net._default_route("vault", ("10.20.2.1", "fd00:d::1"))
        for network, via in (("10.20.2.0/24", BACKEND4), ("fd00:d::/64", BACKEND6)):
            net.run("connector", "ip", "route", "add", network, "via", via)
        net.spawn("vault", PYTHON, INSIDE / "udp_echo.py", ECHO_PORT, log=net.work / "vault-echo.log").wait_log("ready")
        backends = [{"id": "echo", "backend": f"{VAULT4}:{ECHO_PORT}", "protocol": "udp"},
                    {"id": "echo6", "backend": f"[{VAULT6}]:{ECHO_PORT}", "protocol": "udp"}]
        with System(net, services=("echo", "echo6"), agent={"mtu": 9000}, connector={"services": backends}) as system:
            yield system


@pytest.mark.parametrize("address,service", [(virtual4, "echo"), (virtual6, "echo6")])
def test_a_router_behind_the_connector_complains(behind_a_router, address, service):
    virtual, fits = address(service), 1300 - HEADERS[address]
    over, at, again = probes(behind_a_router, virtual, fits + 1, fits, fits + 1)
    kind = {"type": 3, "code": 4} if address is virtual4 else {"type": 2, "code": 0}
    assert over == {"size": fits + 1, "errno": "EMSGSIZE", "origin": "icmp", "mtu": 1300, "from": virtual, **kind}
    assert at == {"size": fits, "reply": fits}
    assert again == {"size": fits + 1, "errno": "EMSGSIZE", "origin": "local", "mtu": 1300}
    done = client(behind_a_router.net, "agent1", "udp_client.py", "sizes", virtual, ECHO_PORT, 1, fits, fits + 1, 4000, 65507)
    assert not done["bad"], done["bad"]


@pytest.fixture(scope="module")
def narrow():
    """Nothing above 1,280 octets passes the internet, and nobody says so."""
    with Network(legs_ms=legs_for(30), ipv6=False) as net:
        Backends(net)
        net.nft("inet", "table inet narrow {\n chain forward { type filter hook forward priority -20;\n"
                        " meta length > 1280 counter drop\n }\n}\n")
        with System(net, services=("web", "echo")) as system:
            yield system


def on_the(way, system):
    """What finds a cut is traffic; the first of it may be lost."""
    client(system.net, "agent1", "udp_client.py", "once", virtual4("echo"), ECHO_PORT, "alive", 1)
    return path_of(quick_status(system.agent)) == way


@pytest.mark.parametrize("way", ["direct", "relay"])
def test_path_that_drops_everything_above_1280_octets(narrow, way):
    net = narrow.net
    net.block_direct(way == "relay")
    try:
        wait_for(lambda: on_the(way, narrow), 20, f"tunnel on {way}")
        before = net.counters("packets")
        sizes = [0, 1, 1199, 1200, 1201, *range(1210, 1300, 7), 1472, 1500, 4000, 8972, 65507]
        done = client(net, "agent1", "udp_client.py", "sizes", virtual4("echo"), ECHO_PORT, *sizes)
        assert len(done["results"]) == 4 * len(sizes) and not done["bad"], done["bad"][:5]
        assert measured_path(net, before, net.counters("packets")) == way
        # On a busy machine the direct path may be silent for long enough to be left for a while: that is no matter of size.
        name, digest = page_of(net, 20_000_000)
        target = net.work / f"page-{way}"
        got = curl(net, "agent1", f"http://{virtual4('web')}/{name}", "-o", target)
        assert got.returncode == 0, got.stderr
        assert hashlib.sha256(target.read_bytes()).hexdigest() == digest
        assert "counter packets 0" not in net.run("inet", "nft", "list", "table", "inet", "narrow"), "nothing large was ever tried"
    finally:
        net.block_direct(False)
