"""Restarts with an Agent that names no services: what it may use comes from the Catalog, which a restarted Intermediate
sends before its Connectors are back. (test_restarts.py has the Agent that names them.)

    agent1 -- nata -- inet -- natb -- connector -- backend
                       |
                  intermediate
"""
import json

import pytest
from test_restarts import page_works, test_transfer_survives_a_restart_of_the_intermediate  # noqa: F401
from ztna_net.backends import Backends
from ztna_net.configs import virtual4, virtual6
from ztna_net.processes import wait_for
from ztna_net.system import System
from ztna_net.topology import Network


@pytest.fixture(scope="module")
def running():
    with Network() as net:
        Backends(net)
        system = System(net, agent_services=None)
        # The Connector pins the addresses that the tests know.
        content = json.loads(system.connector.config_path.read_text())
        for service in content["services"]:
            service["service_ip"] = [virtual4(service["id"]), virtual6(service["id"])]
        system.connector.configure(content)
        with system:
            wait_for(lambda: page_works(system), 10, "services of the Catalog")
            yield system


def test_the_agent_names_no_service(running):
    assert "services" not in running.agent.config_path.read_text()
