"""Without the Intermediate, and so without revocation: new flows for `offline_grace` only, at each end by its own clock.

    agent1 -- nata ======= inet ======= natb -- connector -- backend     the tunnel is direct
                            |
                       intermediate, stopped

    end whose grace is 6 s    after it
    Agent                     RST, ICMP administratively prohibited, counted there
    Connector                 RST, silence for UDP, counted there
    both cases                within it new flows work; what lives goes on through all of it, nothing lost; new flows within 3 s
                              of the Intermediate's return
"""
import pytest
from ztna_net.backends import ECHO_PORT, PAGE_MARK, Backends, client, curl
from ztna_net.configs import virtual4
from ztna_net.connection import IdleConnection
from ztna_net.failover import Meter, now
from ztna_net.metrics import increases
from ztna_net.paths import path_of, quick_status, wait_path
from ztna_net.processes import wait_for
from ztna_net.system import System
from ztna_net.topology import Network

GRACE = 6  # seconds
LONG = 300
BACK_WITHIN_MS = 3000


@pytest.fixture(scope="module")
def net():
    with Network(ipv6=False) as found:
        Backends(found)
        yield found


def page(net):
    return curl(net, "agent1", f"http://{virtual4('web')}/", timeout=3)


def works(net):
    return PAGE_MARK in page(net).stdout


def echo(net):
    """What became of one datagram of a new flow."""
    return client(net, "agent1", "udp_client.py", "once", virtual4("echo"), ECHO_PORT, "new", 1)


@pytest.mark.parametrize("end", ["agent", "connector"])
def test_new_flows_end_with_the_grace_and_living_ones_do_not(net, end):
    graces = {"agent": {"offlineGrace": LONG}, "connector": {"offline_grace": LONG}}
    graces[end] = {key: GRACE for key in graces[end]}
    with System(net, services=("web", "echo", "lab"), **graces) as system, IdleConnection(net) as living:
        wait_path(system.agent, "direct", 20)
        daemon = getattr(system, end)
        with Meter(net, virtual4("lab"), pps=100) as meter:
            # A service that was never asked for would need a route.
            assert living.says(b"before\n") == b"before\n" and works(net) and echo(net)["reply"] == "new"
            assert system.intermediate.process.stop(10) == 0
            gone = now()
            assert works(net) and echo(net)["reply"] == "new", "a new flow within the grace"
            before = daemon.metrics()
            assert (now() - gone) / 1e9 < GRACE, "too slow to tell"
            wait_for(lambda: not works(net), GRACE + 3, lambda: f"new flows end:\n{daemon.log()[-3000:]}\n{quick_status(system.agent)}")
            lasted = (now() - gone) / 1e9
            assert lasted > GRACE - 2  # a Connector looks once a second whether it is online
            assert page(net).returncode == 7, "connection refused"
            assert echo(net)["reply"] != "new"
            assert living.says(b"after\n") == b"after\n"
            counted = [series for series in increases(before, daemon.metrics()) if '"offline"' in series]
            assert counted, daemon.metrics()
            system.intermediate.start().wait_ready()
            up = now()
            wait_for(lambda: works(net) and echo(net)["reply"] == "new", 10, lambda: f"new flows:\n{daemon.log()[-2000:]}")
            back_ms = (now() - up) / 1e6
            assert back_ms < BACK_WITHIN_MS
            assert living.says(b"again\n") == b"again\n"
            echoes = meter.echoes()
        assert not echoes.lost() and not echoes.duplicates(), echoes.summary()
        assert path_of(quick_status(system.agent)) == "direct"
        print(f"{end}: new flows ended {lasted:.1f} s after the Intermediate, and were back {back_ms:.0f} ms after its return; "
              f"counted {', '.join(counted)}; {echoes.summary()}")
