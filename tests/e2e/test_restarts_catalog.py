"""Restarts with an Agent that names no services: what it may use comes from the Catalog, which a restarted Intermediate
sends before its Connectors are back. (test_restarts.py has the Agent that names them.)

    agent1 -- nata -- inet -- natb -- connector -- backend
                       |
                  intermediate
"""
import pytest
from test_restarts import page_works, test_transfer_survives_a_restart_of_the_intermediate  # noqa: F401
from ztna_net.backends import Backends
from ztna_net.processes import wait_for
from ztna_net.system import System
from ztna_net.topology import Network


@pytest.fixture(scope="module")
def running():
    with Network() as net:
        Backends(net)
        with System(net, agent_services=None) as system:
            wait_for(lambda: page_works(system), 10, "services of the Catalog")
            yield system


def test_the_agent_names_no_service(running):
    assert "services" not in running.agent.config_path.read_text()
