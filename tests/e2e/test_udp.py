"""UDP through the relay and on direct paths: every payload size, four patterns, a thousand flows.

    agent1 -- nata -- inet -- natb -- connector -- backend (udp_echo.py, IPv4 and IPv6)
                       |
                  intermediate
"""
import pytest
from ztna_net.backends import ECHO_PORT, client
from ztna_net.configs import virtual4, virtual6

SIZES = [0, 1, *range(1199, 1501), 8972, 65507]


@pytest.mark.parametrize("service", ["echo", "echo6"])
@pytest.mark.parametrize("address", [virtual4, virtual6])
def test_sizes_and_patterns(each_way, service, address):
    done = client(each_way.net, "agent1", "udp_client.py", "sizes", address(service), ECHO_PORT, *SIZES)
    assert len(done["results"]) == 4 * len(SIZES)
    assert not done["bad"], done["bad"][:10]


@pytest.mark.parametrize("address", [virtual4, virtual6])
def test_1000_concurrent_flows(each_way, address):
    done = client(each_way.net, "agent1", "udp_client.py", "flows", address("echo"), ECHO_PORT, 1000, 3)
    assert done == {"sent": 3000, "received": 3000, "crossed": 0}
