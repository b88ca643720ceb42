"""Fixtures of the end-to-end tests. One network and one running system serve all tests that do not break anything;
tests that kill, reconfigure or refuse make their own.

Environment: ZTNA_BIN (the programs; default build/release/bin), ZTNA_E2E_OFFLOADS=off, ZTNA_E2E_SMALL_BUFFERS=1.
"""
import os
import pathlib
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))
from ztna_net.backends import ECHO_PORT, Backends, client  # noqa: E402
from ztna_net.configs import virtual4  # noqa: E402
from ztna_net.paths import path_of, quick_status  # noqa: E402
from ztna_net.processes import wait_for  # noqa: E402
from ztna_net.system import System  # noqa: E402
from ztna_net.topology import Network  # noqa: E402


def pytest_configure(config):
    config.addinivalue_line("markers", "soak: runs for many minutes; ./dev test --full only")
    config.addinivalue_line("markers", "alone: measures time or fills the machine, so nothing else may run beside it")
    config.addinivalue_line("markers", "full: the long form of a test that has a short one; ./dev test --full only")
    config.addinivalue_line("markers", "valgrind: runs the programs under valgrind; ./dev test --full only")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """On failure: the end of every log of the networks that the test used."""
    outcome = yield
    report = outcome.get_result()
    if not report.failed:
        return
    nets = {id(n): n for n in (getattr(v, "net", v) for v in getattr(item, "funcargs", {}).values())
            if isinstance(n, Network)}
    for net in nets.values():
        for path in sorted(pathlib.Path(net.work).glob("*.log")):
            text = path.read_text(errors="replace").strip()
            if text:
                report.sections.append((f"log {path.name}", "\n".join(text.splitlines()[-40:])))


@pytest.fixture(scope="session")
def net():
    """A network without delay."""
    with Network() as network:
        yield network


@pytest.fixture(scope="session")
def backends(net):
    return Backends(net)


@pytest.fixture(scope="session")
def system(net, backends):
    """Two Agents, all services, up for the whole session: for tests that leave it as they found it."""
    with System(net, agents=("agent1", "agent2")) as running:
        yield running


def take_path(system, path):
    """Moves the tunnels of all Agents there. What finds a cut path is traffic; the first of it may be lost."""
    def there(host):
        client(system.net, host, "udp_client.py", "once", virtual4("echo"), ECHO_PORT, "alive", 1)
        return path_of(quick_status(system.agents[host])) == path
    system.net.block_direct(path == "relay")
    for host in system.agents:
        wait_for(lambda: there(host), 20, lambda: f"{host} on the {path}: {quick_status(system.agents[host])}")


@pytest.fixture
def relayed(system):
    """The system with all tunnels on the relay."""
    try:
        take_path(system, "relay")
        yield system
    finally:
        system.net.block_direct(False)


@pytest.fixture(scope="module", params=["relay", "direct"])
def each_way(request, system):
    """The system with all tunnels on the relay, then on direct paths; the network's counters prove it."""
    try:
        take_path(system, "direct")  # where none ever worked it is looked for ever more rarely
        take_path(system, request.param)
        system.way, before = request.param, system.net.counters("packets")
        yield system
        after = system.net.counters("packets")
        crossed = {"direct": after["direct"] - before["direct"], "relay": after["relayed"] - before["relayed"]}
        assert crossed[request.param] >= 10, crossed  # what is sent to a direct path that is cut counts there, too
        assert request.param == "relay" or crossed["direct"] > crossed["relay"], crossed
    finally:
        system.net.block_direct(False)


@pytest.fixture
def fresh():
    """A network and backends of the test's own: for tests that break things."""
    with Network() as network:
        network.backends = Backends(network, big=False)
        yield network
