"""An even stream of 100 packets/s: nothing lost. 20 s through the relay in every run, 10 minutes on each path with -m soak.

    agent1 -- nata -- inet -- natb -- connector -- backend (udp_echo.py)
                       |
                  intermediate
"""
import pytest
from ztna_net.backends import ECHO_PORT, client
from ztna_net.configs import virtual4, virtual6


def run(system, address, seconds):
    done = client(system.net, "agent1", "udp_client.py", "steady", address("echo"), ECHO_PORT, 100, seconds,
                  timeout=seconds + 60)
    assert done["lost"] == 0 and done["sent"] == 100 * seconds, done


def test_20_seconds_without_loss(relayed):
    run(relayed, virtual4, 20)


@pytest.mark.soak
@pytest.mark.parametrize("address", [virtual4, virtual6])
def test_10_minutes_without_loss(each_way, address):
    run(each_way, address, 600)
