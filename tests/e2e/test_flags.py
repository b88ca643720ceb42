"""How the programs are started and ended: flags, a Connector's second certificate, signals.

    agent1 -- nata -- inet -- natb -- connector -- backend
                       |
                  intermediate
"""
import json
import re
import shutil
import signal

import pytest
from ztna_net.backends import ECHO_PORT, PAGE_MARK, Backends, client, curl
from ztna_net.capture import Capture
from ztna_net.configs import PORT, virtual4
from ztna_net.failover import now
from ztna_net.metrics import total
from ztna_net.paths import quick_status
from ztna_net.pki import VALID, san
from ztna_net.processes import wait_for
from ztna_net.system import CONNECTOR_USER, System
from ztna_net.topology import Network


@pytest.fixture(scope="module")
def net():
    with Network(ipv6=False) as made:
        Backends(made, big=False)
        yield made


def page(net, address=virtual4("web"), timeout=5):
    return PAGE_MARK in curl(net, "agent1", f"http://{address}/", timeout=timeout).stdout


def begin(system, agent=(), connector=(), intermediate=()):
    """As System.start(), with flags."""
    system.intermediate.start(*intermediate).wait_ready()
    system.connector.start(*connector).wait_ready()
    system.agent.start(*agent).wait_ready()


# -- flags of the Agent and the Intermediate --------------------------------------------------------------------------------------

def test_auto_stop(net):
    """The Agent ends by itself, in time, in order, and the services stay unreachable."""
    agent, wanted = System(net, services=("web",)).agent, 1
    begun = now()
    assert agent.start("--auto-stop", wanted).process.wait(10) == 0
    lasted = (now() - begun) / 1e9
    assert wanted <= lasted < wanted + 3, lasted
    assert "stopping why=--auto-stop" in agent.log()
    assert "ztna0" not in net.run("agent1", "ip", "link")
    assert "unreachable 10.100.0.0/24" in net.run("agent1", "ip", "route")


def test_tun_name_and_route(net):
    """Another device and another network, which the Intermediate gives addresses of. The flags beat the file."""
    network, other = "10.77.0.0/24", {"tunName": "file0", "routes": "10.78.0.0/24"}
    system = System(net, services=("web",), agent_services=None, intermediate={"pools": network}, agent=other)
    try:
        begin(system, agent=("--tun-name", "corp0", "--route", network))
        address = wait_for(lambda: [a for s in quick_status(system.agent)["services"] for a in s["addresses"]], 5, "the Catalog")[0]
        assert address.startswith("10.77.0.") and page(net, address)
        devices = re.findall(r"^\d+: ([^:@]+)", net.run("agent1", "ip", "-o", "link"), re.MULTILINE)
        assert set(devices) == {"lo", "eth0", "corp0"}
        assert re.findall(r"inet (\S+)", net.run("agent1", "ip", "-o", "-4", "addr", "show", "dev", "corp0")) == ["10.77.0.254/32"]
        assert [row.split()[0] for row in net.run("agent1", "ip", "route", "show", "dev", "corp0").splitlines()] == [network]
    finally:
        system.stop()


def retries(capture):
    """Retry packets of QUIC version 1 (RFC 9000 17.2.5) from the Intermediate."""
    return sum(payload[0] & 0xF0 == 0xF0 and payload[1:5] == bytes([0, 0, 0, 1]) and source[1] == PORT
               for _, source, _, payload in capture.udp_packets() if len(payload) > 4)


@pytest.mark.parametrize("flags", [(), ("--disable-retry",)])
def test_disable_retry(net, flags):
    """By default Agent and Connector are sent a Retry each and bring its token back."""
    system = System(net, services=("web",))
    try:
        with Capture(net, "intermediate", "wan", f"udp port {PORT}") as seen:
            begin(system, intermediate=flags)
            assert page(net)
            assert total(system.intermediate.metrics(), "ztna_active_connections") == 2
            validated = total(system.intermediate.metrics(), "ztna_retry_tokens_validated")
        assert len(seen.udp_packets()) > 10
        if flags:
            assert (retries(seen), validated) == (0, 0)
        else:
            assert retries(seen) >= 2 and validated >= 2
    finally:
        system.stop()


def test_sigint_ends_each_program(net):
    """As SIGTERM does (test_operations.py)."""
    with System(net, services=("web",)) as system:
        assert page(net)
        for daemon in (system.agent, system.connector, system.intermediate):
            daemon.process.signal(signal.SIGINT)
            assert daemon.process.wait(5) == 0, daemon.log()[-2000:]
            assert daemon.log().rstrip().endswith("info stopped"), daemon.log()[-2000:]
        assert "ztna0" not in net.run("agent1", "ip", "link")


# -- the certificate that Agents see ----------------------------------------------------------------------------------------------

def half(system, name, services, purpose):
    """A Connector's certificate that is for one side of TLS only, where the Connector may read it."""
    lines = [f"tls_www_{purpose}", *[f"dns_name = connector.{s}.ztna" for s in services], san("connector", name)[-1], *VALID]
    folder = system.pki.custom(name, lines, into=system.connector.folder / name)
    for path in (folder, *folder.iterdir()):
        shutil.chown(path, CONNECTOR_USER)
    return folder


def test_certificate_that_agents_see(net):
    """The Connector's own certificate is for the Intermediate alone: no Agent would take it, nor the Intermediate the other."""
    services = ("web", "echo")
    system = System(net, services=services)
    connector, agent = system.connector, system.agent
    connector.use_identity(half(system, "own", services, "client"))
    files = {name: half(system, name, may, "server") for name, may in (("stranger", ["other"]), ("seen", ["web"]))}
    flags = {name: ("--p2p-cert", folder / "cert.pem", "--p2p-key", folder / "key.pem") for name, folder in files.items()}
    try:
        done = connector.run("--check-config")
        assert done.returncode == 2 and "extended key usage" in done.stderr, done

        begin(system, connector=flags["stranger"])
        assert not page(net, timeout=1)
        wait_for(lambda: re.search("tunnel failed .*connector stranger may not offer service web", agent.log()), 5, agent.log)
        assert not quick_status(agent)["tunnels"]

        agent.process.stop()
        connector.process.stop()
        connector.configure({**json.loads(connector.config_path.read_text()),
                             "p2p": {"cert": str(files["seen"] / "cert.pem"), "key": "seen/key.pem"}})
        connector.start().wait_ready()
        agent.start().wait_ready()
        assert page(net)
        assert [tunnel["connector"] for tunnel in quick_status(agent)["tunnels"]] == ["seen"]
        assert client(net, "agent1", "udp_client.py", "once", virtual4("echo"), ECHO_PORT, "no", 0.5)["reply"] is None
        assert "service=echo why=\"the Connector's certificate does not permit the service\"" in agent.log()
        assert page(net)
    finally:
        system.stop()
