"""ping to services: answered by the Connector, whatever the service's protocol; and the Agent's own ping and status.

    agent1 -- nata -- inet -- natb -- connector -- backend
                       |
                  intermediate
"""
import json
import re

import pytest
from ztna_net.backends import ping
from ztna_net.configs import SERVICES, virtual4, virtual6
from ztna_net.pki import program


def test_no_answer_from_an_address_without_service(system):
    assert ping(system.net, "agent1", "10.100.0.99", count=1, wait=1) is None
    assert ping(system.net, "agent1", "fd5a:7a74:6e61::99", count=1, wait=1) is None


@pytest.mark.parametrize("service", sorted(set(SERVICES) - {"dead"}))
@pytest.mark.parametrize("address", [virtual4, virtual6])
@pytest.mark.parametrize("size", [56, 1400])
def test_ping(each_way, service, address, size):
    assert ping(each_way.net, "agent1", address(service), count=3, size=size) is not None


def agent_command(system, *words):
    return system.net.attempt("agent1", program("ztna-agent"), "--config", system.agent.config_path, *words, timeout=20)


def test_agents_own_ping_says_which_way(each_way):
    """Four answers if nothing is said, and each names the way that it took."""
    done = agent_command(each_way, "ping", "web")
    assert done.returncode == 0 and not done.stderr, done
    *answers, summary = done.stdout.splitlines()
    one = rf"web \({re.escape(virtual4('web'))}\) by c1: {each_way.way}, \d+\.\d ms"
    assert len(answers) == 4 and all(re.fullmatch(one, line) for line in answers), done.stdout
    assert re.fullmatch(r"4 of 4 answered, \d+\.\d to \d+\.\d ms, \d+\.\d on average", summary), done.stdout


def test_agents_own_ping_of_an_unknown_service(system):
    done = agent_command(system, "ping", "no-such-service")
    assert done.returncode != 0 and "no-such-service" in done.stdout + done.stderr


def test_status(system):
    done = agent_command(system, "status", "--json")
    assert done.returncode == 0, done.stderr
    text = json.dumps(json.loads(done.stdout))
    for word in ("web", virtual4("web")):
        assert word in text, done.stdout
    assert '"direct"' in text or '"relay"' in text, done.stdout
    done = agent_command(system, "status")
    assert done.returncode == 0 and "web" in done.stdout


def test_status_without_a_running_agent(system):
    done = agent_command(system, "--control-socket", "/run/no-such-agent.sock", "status")
    assert done.returncode != 0 and len((done.stderr + done.stdout).strip().splitlines()) == 1, done
    assert "/run/no-such-agent.sock" in done.stderr + done.stdout
