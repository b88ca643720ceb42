"""No leak after 100 connects: the three programs under valgrind (ZTNA_E2E_VALGRIND=1, ./dev test --full).

    agent1 -- nata -- inet -- natb -- connector -- backend
                       |
                  intermediate
"""
import os

import pytest
from ztna_net.backends import FAREWELL, Backends, client
from ztna_net.configs import virtual4
from ztna_net.system import System
from ztna_net.topology import Network


@pytest.mark.valgrind
def test_no_leak_after_100_connects():
    assert os.environ.get("ZTNA_E2E_VALGRIND"), "set ZTNA_E2E_VALGRIND=1"
    with Network() as net:
        Backends(net, big=False)
        system = System(net, services=("lab",)).start()
        done = client(net, "agent1", "tcp_client.py", "many", virtual4("lab"), FAREWELL, 100, timeout=300)
        assert done["good"] == 100, done
        for daemon in reversed(system.daemons):
            code = daemon.process.stop(60)
            assert code == 0, f"{daemon.kind}: exit {code}\n{daemon.log()[-4000:]}"
