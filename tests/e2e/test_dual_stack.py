"""An Intermediate with a name that has addresses of both families: the control connection takes the faster one, and one that is
black-holed costs nothing.

    agent1 -- nata -- inet -- natb -- connector -- backend
                       ||
             30 ms, one family 25 ms more or less
                       ||
              intermediate (relay.test)

The names are in a hosts file that only Agent and Connector see. IPv4 comes first in it, as from a resolver on a machine with private
IPv6 addresses (RFC 6724); what is asked is answered by the network, not by the order.
"""
import ipaddress
import time

import pytest
from ztna_net.backends import PAGE_MARK, Backends, curl
from ztna_net.capture import Capture
from ztna_net.configs import virtual4
from ztna_net.metrics import total
from ztna_net.paths import quick_status
from ztna_net.processes import mounts_of_its_own, wait_for
from ztna_net.system import System
from ztna_net.topology import INTERMEDIATE4, INTERMEDIATE6, Network

pytestmark = pytest.mark.skipif(not mounts_of_its_own(), reason="a hosts file of one's own needs a root that is a mount point")
LEG_MS, EXTRA_MS = 30, 25


@pytest.fixture(scope="module")
def dual():
    with Network(legs_ms={"intermediate": LEG_MS}) as net:
        Backends(net, big=False)
        with System(net, services=("web",), names=(INTERMEDIATE4, INTERMEDIATE6)) as system:
            yield system


def family_in_use(system):
    """4 or 6: over which the Agent is connected."""
    address = quick_status(system.agent)["server_address"]
    return ipaddress.ip_address(address.rsplit(":", 1)[0].strip("[]")).version


def start_agent(system):
    """A new Agent, so without a memory; the seconds until it is registered."""
    begun = time.monotonic()
    system.agent.restart_after_kill()  # also when it is dead already
    wait_for(lambda: (quick_status(system.agent) or {}).get("connected"), 15, "the control connection")
    return time.monotonic() - begun


def works(system):
    """The page arrives, at once or when the Connector, too, has left a way that died."""
    wait_for(lambda: PAGE_MARK in curl(system.net, "agent1", f"http://{virtual4('web')}/", timeout=8).stdout, 40, "the page")


@pytest.mark.parametrize("slower,extra6", [(6, EXTRA_MS), (4, -EXTRA_MS)])
def test_the_faster_family_is_used(dual, slower, extra6):
    dual.net.set_leg("intermediate", LEG_MS, extra6_ms=extra6)
    try:
        for _ in range(3):
            start_agent(dual)
            assert family_in_use(dual) == 10 - slower
        works(dual)
    finally:
        dual.net.set_leg("intermediate", LEG_MS)


HOLES = {4: "ip daddr %s" % INTERMEDIATE4, 6: "ip6 daddr %s" % INTERMEDIATE6}


def cut(net, family):
    """Nothing of that family reaches the Intermediate, and nobody says so."""
    net.nft("inet", "table inet hole {\n chain forward { type filter hook forward priority -20;\n"
                    f" {HOLES[family]} drop\n }}\n}}\n")


def first_packets(capture):
    """{4 or 6: when the first packet of that family left for the Intermediate, in seconds of the day}."""
    found = {}
    for row in capture.rows("udp dst port 4433"):
        clock, kind = row.split()[:2]
        hours, minutes, seconds = clock.split(":")
        found.setdefault(6 if kind == "IP6" else 4, 3600 * int(hours) + 60 * int(minutes) + float(seconds))
    return found


@pytest.mark.parametrize("family", sorted(HOLES))
def test_a_black_holed_family_costs_nothing(dual, family):
    cut(dual.net, family)
    try:
        apart, took = [], []
        for _ in range(3):
            dual.agent.process.kill9()
            with Capture(dual.net, "agent1", "eth0", "udp") as seen:
                took.append(start_agent(dual))
                assert family_in_use(dual) == 10 - family
                wait_for(lambda: len(first_packets(seen)) == 2, 5, "packets of both families")
                first = first_packets(seen)
                apart.append(abs(first[4] - first[6]))
        print(f"IPv{family} black-holed: connected after {min(took):.2f} s, the families' first packets {1000 * min(apart):.1f} ms apart")
        assert min(apart) < 0.1, "the other one was dialled only when the first had been given up"
        works(dual)
    finally:
        dual.net.nft("inet", "delete table inet hole\n")


def test_the_family_in_use_is_black_holed(dual):
    """The Connector, too: it has been there from the beginning."""
    start_agent(dual)
    family = family_in_use(dual)
    before = total(dual.agent.metrics(), "ztna_agent_reconnections_total")
    cut(dual.net, family)
    try:
        wait_for(lambda: (quick_status(dual.agent) or {}).get("connected") and family_in_use(dual) == 10 - family, 40,
                 "the other family")
        assert total(dual.agent.metrics(), "ztna_agent_reconnections_total") == before + 1
        works(dual)
    finally:
        dual.net.nft("inet", "delete table inet hole\n")
