"""What an operator relies on: metrics by their names, health, readiness, logs, draining, privileges.

    agent1 -- nata -- inet -- natb -- connector -- backend
                       |
                  intermediate
"""
import json
import os
import re
import signal
import time

import pytest
from ztna_net import configs
from ztna_net.backends import DIGEST, ECHO_PORT, PAGE_MARK, PYTHON, REFUSED_PORT, RESET, Backends, client, curl, ping
from ztna_net.capture import Capture
from ztna_net.configs import PORT, virtual4, virtual6
from ztna_net.connection import IdleConnection
from ztna_net.failover import Meter, event, now, seconds
from ztna_net.metrics import http_get, increases, matching, total
from ztna_net.paths import quick_status
from ztna_net.processes import wait_for
from ztna_net.system import System
from ztna_net.topology import INTERMEDIATE4, INTERMEDIATE6, Network

INTERMEDIATE_METRICS = ["ztna_active_connections", "ztna_relay_bytes_total", "ztna_registrations_total",
                        "ztna_registration_rejections_total", "ztna_datagrams_relayed_total",
                        "ztna_signaling_sessions_total", "ztna_retry_tokens_validated", "ztna_retry_token_failures",
                        "ztna_uptime_seconds"]
CONNECTOR_METRICS = ["ztna_connector_forwarded_packets_total", "ztna_connector_forwarded_bytes_total",
                     "ztna_connector_tcp_sessions_total", "ztna_connector_tcp_errors_total",
                     "ztna_connector_reconnections_total", "ztna_connector_uptime_seconds"]


@pytest.mark.parametrize("kind,names", [("intermediate", INTERMEDIATE_METRICS), ("connector", CONNECTOR_METRICS)])
def test_metrics_have_their_names(system, kind, names):
    series = getattr(system, kind).metrics()
    for name in names:
        total(series, name)


def test_metrics_move_with_traffic(relayed):
    system = relayed
    before_i, before_c = system.intermediate.metrics(), system.connector.metrics()
    assert PAGE_MARK in curl(system.net, "agent1", f"http://{virtual4('web')}/").stdout
    after_i, after_c = system.intermediate.metrics(), system.connector.metrics()
    for name in ("ztna_relay_bytes_total", "ztna_datagrams_relayed_total"):
        assert total(after_i, name) > total(before_i, name), name
    growth = increases(before_i, after_i)
    assert growth["ztna_relay_bytes_total"] > 40 * growth["ztna_datagrams_relayed_total"], "octets, and not datagrams"
    assert total(after_c, "ztna_connector_tcp_sessions_total") == total(before_c, "ztna_connector_tcp_sessions_total") + 1
    assert total(after_i, "ztna_active_connections") == 3  # two Agents and the Connector
    assert total(after_i, "ztna_retry_tokens_validated") >= 3


CARRIED = ("forwarded_packets", "forwarded_bytes", "tcp_sessions", "tcp_errors", "reconnections")


def carried(system):
    """The Connector's counters of what it has carried."""
    series = system.connector.metrics()
    return {name: total(series, f"ztna_connector_{name}_total") for name in CARRIED}


def test_connector_counts_what_it_carries(relayed):
    """Each transfer moves the counters that it should, by what it should, and no other."""
    datagrams = sum(len(f"flow 0 packet {i}") for i in range(10))  # as udp_client.py makes them
    answer = len("50000 ") + 64 + len("\n")  # of tcp_server.py: the length and the digest of what it got
    lab = virtual4("lab")
    for command, outcome, wanted in (
            (("udp_client.py", "flows", virtual4("echo"), ECHO_PORT, 1, 10), ("received", 10),
             {"forwarded_packets": 20, "forwarded_bytes": 2 * datagrams}),
            (("tcp_client.py", "half_close", lab, DIGEST, 50_000), None, {"tcp_sessions": 1, "forwarded_bytes": 50_000 + answer}),
            (("tcp_client.py", "connect", lab, REFUSED_PORT, 5), ("outcome", "ECONNREFUSED"), {"tcp_errors": 1}),
            (("tcp_client.py", "until_reset", lab, RESET), ("outcome", "RST"),  # one octet asks for it
             {"tcp_sessions": 1, "tcp_errors": 1, "forwarded_bytes": 100_000 + 1})):
        before = carried(relayed)
        done = client(relayed.net, "agent1", *command)
        assert (done[outcome[0]] == outcome[1] if outcome else done["answer"] == done["expected"]), done

        def grown():
            return {name: value - before[name] for name, value in carried(relayed).items() if value != before[name]}
        wait_for(lambda: grown() == wanted, 3, lambda: f"{command[1]}: {grown()} instead of {wanted}")


@pytest.mark.parametrize("kind", ["intermediate", "connector", "agent"])
def test_health(system, kind):
    daemon = getattr(system, kind)
    status, body = http_get(system.net, daemon.host, daemon.metrics_port, "/healthz")
    assert (status, body.strip()) == (200, "ok")
    assert http_get(system.net, daemon.host, daemon.metrics_port, "/readyz")[0] == 200
    assert http_get(system.net, daemon.host, daemon.metrics_port, "/no-such-page")[0] == 404


def test_metrics_listen_on_loopback_only(system):
    for daemon in (system.intermediate, system.connector, system.agent):
        rows = system.net.run(daemon.host, "ss", "-Hlnt").splitlines()
        addresses = {row.split()[3] for row in rows if row.split()[3].endswith(f":{daemon.metrics_port}")}
        assert addresses == {f"127.0.0.1:{daemon.metrics_port}"}


def test_connector_has_no_privilege(system):
    with open(f"/proc/{system.connector.process.pid}/status") as f:
        fields = dict(line.split(":", 1) for line in f)
    assert fields["Uid"].split()[0] != "0"
    assert all(int(fields[name], 16) == 0 for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"))


def test_agents_keep_little_privilege(system):
    """The Agent keeps CAP_NET_ADMIN (12) and at most CAP_NET_RAW (13) of root's capabilities once it runs."""
    with open(f"/proc/{system.agent.process.pid}/status") as f:
        effective = next(int(line.split()[1], 16) for line in f if line.startswith("CapEff"))
    assert effective & ~((1 << 12) | (1 << 13)) == 0, hex(effective)


def test_logs_carry_no_secret(system):
    for daemon in system.daemons:
        key = [line for line in (daemon.folder / "certs/key.pem").read_text().splitlines() if "-----" not in line]
        assert not any(line in daemon.log() for line in key)
        assert PAGE_MARK not in daemon.log()


def test_keys_are_private(system):
    for path in system.pki.folder.rglob("*key*.pem"):
        assert os.stat(path).st_mode & 0o077 == 0, path


def test_only_services_enter_the_tunnel(system):
    rows = system.net.run("agent1", "ip", "route").splitlines() + system.net.run("agent1", "ip", "-6", "route").splitlines()
    through = {row.split()[0] for row in rows if "ztna0" in row and not row.startswith(("fe80", "ff00", "multicast"))}
    own = {"10.100.0.254", "fd5a:7a74:6e61::fffe"}  # the kernel lists the device's own IPv6 address as a route
    assert through - own == {"10.100.0.0/24", "fd5a:7a74:6e61::/64"}, through


@pytest.fixture(scope="module")
def own():
    with Network() as net:
        Backends(net, big=False)
        yield net


@pytest.fixture
def no_direct(own):
    own.block_direct(True)
    yield own
    own.block_direct(False)


def test_metrics_of_connections(no_direct):
    """One Agent and one Connector, whose Intermediate restarts: each of them comes back once."""
    began = time.monotonic()
    with System(no_direct, services=("web",)) as system:
        up = time.monotonic()
        intermediate, connector, agent = system.intermediate, system.connector, system.agent
        assert PAGE_MARK in curl(no_direct, "agent1", f"http://{virtual4('web')}/").stdout

        def of_intermediate(*names):
            series = intermediate.metrics()
            return [total(series, f"ztna_{name}") for name in names]

        def sessions():  # there is another one a second later, since nothing answers
            return [total(agent.metrics(), "ztna_agent_punching_sessions_total"), *of_intermediate("signaling_sessions_total")]
        wait_for(lambda: sessions() in ([1, 1], [2, 2]), 3, sessions)
        assert of_intermediate("retry_tokens_validated", "retry_token_failures", "active_connections") == [2, 0, 2]
        assert total(connector.metrics(), "ztna_connector_reconnections_total") == 0
        ages = {daemon: age(daemon, began, up) for daemon in (intermediate, connector, agent)}

        began_again = time.monotonic()
        intermediate.restart_after_kill().wait_ready()
        up_again = time.monotonic()
        wait_for(lambda: ping(no_direct, "agent1", virtual4("web"), count=1, wait=1) is not None, 10, "service after the restart")
        wait_for(connector.ready, 10, connector.log)
        assert of_intermediate("active_connections") == [2]
        assert total(connector.metrics(), "ztna_connector_reconnections_total") == 1
        assert total(agent.metrics(), "ztna_agent_reconnections_total") == 1
        assert age(intermediate, began_again, up_again) < age(intermediate, began_again, up_again)
        assert age(agent, began, up) > ages[agent]
        wait_for(lambda: age(connector, began, up) > ages[connector], 3, "another second of the Connector's life")


def age(daemon, began, up):
    """The uptime that a program tells, which began between these two times. The Connector's is of whole seconds, a second late."""
    name = {"intermediate": "ztna", "connector": "ztna_connector", "agent": "ztna_agent"}[daemon.kind]
    asked = time.monotonic()
    told = total(daemon.metrics(), f"{name}_uptime_seconds")
    assert asked - up - (2 if daemon.kind == "connector" else 0) <= told <= time.monotonic() - began, daemon.kind
    return told


def readiness(daemon):
    status, body = http_get(daemon.net, daemon.host, daemon.metrics_port, "/readyz")
    return status, body.strip()


@pytest.mark.alone  # the Connector's drain is 2.5 s
def test_readiness_while_draining(own):
    """With a connection open the drain takes its 3 s: nobody should send more users, those that are there go on."""
    with System(own, services=("web", "lab")) as system, IdleConnection(own) as user:
        assert user.says(b"before\n") == b"before\n"
        ready = {system.agent: "registered", system.connector: "registered", system.intermediate: "ready"}
        assert {daemon: readiness(daemon) for daemon in ready} == {daemon: (200, text) for daemon, text in ready.items()}
        for daemon in ready:
            daemon.process.signal(signal.SIGTERM)
        for daemon in ready:
            wait_for(lambda: readiness(daemon) == (503, "draining"), 2, lambda: f"{daemon.kind}: {readiness(daemon)}")
            assert http_get(own, daemon.host, daemon.metrics_port, "/healthz")[0] == 200
        assert user.says(b"after\n") == b"after\n"
        user.socket.close()
        for daemon in ready:
            assert daemon.process.wait(5) == 0, daemon.log()[-2000:]


def test_reload_and_drain(own):
    """SIGHUP keeps connections; SIGTERM ends each program with 0 within the 3 s drain, and takes the TUN along."""
    with System(own, services=("web", "echo")) as system:
        url = f"http://{virtual4('web')}/"
        assert PAGE_MARK in curl(own, "agent1", url).stdout
        before = total(system.connector.metrics(), "ztna_connector_reconnections_total")
        for daemon in (system.intermediate, system.connector, system.agent):
            daemon.process.signal(signal.SIGHUP)
        wait_for(lambda: all("reload" in d.log() for d in (system.intermediate, system.connector, system.agent)), 5,
                 "a log line about the reload in each")
        assert PAGE_MARK in curl(own, "agent1", url).stdout
        assert total(system.connector.metrics(), "ztna_connector_reconnections_total") == before
        for daemon in (system.agent, system.connector, system.intermediate):
            daemon.process.signal(signal.SIGTERM)
            assert daemon.process.wait(5) == 0, daemon.log()[-2000:]
        assert "ztna0" not in own.run("agent1", "ip", "link")


def test_reload_without_a_service_leaves_the_others_alone(own):
    """An Agent that takes the Catalog hears of every service that comes and goes: the others never do."""
    with System(own, services=("web", "echo", "lab"), agent_services=None) as system:
        services = {s["id"]: s for s in quick_status(system.agent)["services"]}
        at = {name: next(a for a in s["addresses"] if "." in a) for name, s in services.items()}
        content = json.loads(system.connector.config_path.read_text())
        content["services"] = [s for s in content["services"] if s["id"] != "echo"]
        with IdleConnection(own, at["lab"]) as living, Meter(own, at["lab"], pps=200) as meter:
            assert living.says(b"before\n") == b"before\n"
            system.connector.configure(content)
            reloaded = event(lambda: system.connector.process.signal(signal.SIGHUP)).at
            wait_for(lambda: "services reloaded" in system.connector.log(), 5, system.connector.log)
            while now() < reloaded + seconds(2):
                done = curl(own, "agent1", f"http://{at['web']}/", timeout=3)
                assert PAGE_MARK in done.stdout, f"{(now() - reloaded) / 1e6:.0f} ms after the reload: {done.stderr}"

            def state_of(name):
                return next(s["state"] for s in quick_status(system.agent)["services"] if s["id"] == name)
            wait_for(lambda: state_of("echo") == "down", 10, lambda: f"echo is {state_of('echo')}")
            assert state_of("lab") == "open" and living.says(b"after\n") == b"after\n"
            echoes = meter.echoes()
        assert not echoes.lost() and not echoes.duplicates(), echoes.summary()


def test_reload_says_what_waits_for_a_restart(own):
    with System(own, services=("web",)) as system:
        for daemon, change in ((system.intermediate, {"disable_retry": True}), (system.connector, {"state_dir": "/tmp"}),
                               (system.agent, {"autoStop": 3600})):
            content = json.loads(daemon.config_path.read_text())
            daemon.process.signal(signal.SIGHUP)
            wait_for(lambda: "reloaded certificates" in daemon.log(), 5, daemon.log)
            assert "next restart" not in daemon.log(), daemon.kind
            daemon.configure({**content, **change})
            daemon.process.signal(signal.SIGHUP)
            wait_for(lambda: "next restart" in daemon.log(), 5, lambda: f"{daemon.kind}: {daemon.log()[-2000:]}")


def test_intermediate_at_addresses_of_its_own(own):
    """Bound to two addresses, of both families: it is at these alone, and each brings a page."""
    with System(own, services=("web",), intermediate={"bind_addr": [INTERMEDIATE4, INTERMEDIATE6]}) as system:
        rows = own.run("intermediate", "ss", "-Hanu", f"sport = :{PORT}").splitlines()
        assert {row.split()[3] for row in rows} == {f"{INTERMEDIATE4}:{PORT}", f"[{INTERMEDIATE6}]:{PORT}"}, rows
        for address in (INTERMEDIATE4, INTERMEDIATE6):
            content = json.loads(system.agent.config_path.read_text())
            system.agent.configure({**content, "serverHost": address})
            system.agent.restart_after_kill().wait_ready()
            assert PAGE_MARK in curl(own, "agent1", f"http://{virtual4('web')}/").stdout


# As systemd's RestrictAddressFamilies=: the kernel answers socket(AF_INET6, ...) with EAFNOSUPPORT.
WITHOUT_IPV6 = """
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
socket_call = {"x86_64": 41, "aarch64": 198}[os.uname().machine]
rules = [(0x20, 0, 0, 0), (0x15, 0, 3, socket_call), (0x20, 0, 0, 16), (0x15, 0, 1, 10), (0x06, 0, 0, 0x00050000 | 97), (0x06, 0, 0, 0x7fff0000)]
code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *r) for r in rules))
program = struct.pack("@HP", len(rules), ctypes.addressof(code))
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, ctypes.c_char_p(program)) == 0, os.strerror(ctypes.get_errno())
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_intermediate_on_a_host_without_ipv6(own):
    system = System(own, services=("web",))
    daemon = system.intermediate
    daemon.process = own.spawn("intermediate", PYTHON, "-c", WITHOUT_IPV6, *daemon.command(), log=daemon.folder / "no-ipv6.log")
    try:
        daemon.wait_ready()
        assert "no IPv6 on this host" in daemon.log()
        rows = own.run("intermediate", "ss", "-Hanu", f"sport = :{PORT}").splitlines()
        assert {row.split()[3] for row in rows} == {f"0.0.0.0:{PORT}"}, rows
    finally:
        daemon.process.stop()
    daemon.configure({**json.loads(daemon.config_path.read_text()), "bind_addr": "::"})
    done = own.attempt("intermediate", PYTHON, "-c", WITHOUT_IPV6, *daemon.command(), timeout=20)
    assert done.returncode == 2 and "--bind" in done.stderr, done


def test_json_logs(own):
    with System(own, services=("web",)) as system:
        system.agent.process.stop()
        system.agent.start("--log-format", "json").wait_ready()
        lines = [line for line in system.agent.log().splitlines() if line]
        assert lines and all(isinstance(json.loads(line), dict) for line in lines)


def test_catalog_brings_services_and_addresses(own):
    """An Agent whose file names no service takes all that its certificate permits."""
    with System(own, services=("web", "echo"), agent_services=None) as system:
        done = own.attempt("agent1", system.agent.command()[0], "--config", system.agent.config_path, "status", "--json")
        text = done.stdout
        assert "web" in text and "echo" in text, text
        found = re.findall(r"10\.100\.0\.\d+", text)
        assert found, text
        answers = [curl(own, "agent1", f"http://{address}/", "--connect-timeout", "2", timeout=4).stdout
                   for address in dict.fromkeys(found)]
        assert any(PAGE_MARK in a for a in answers), answers


def test_unreachable_while_the_agent_is_away(own):
    """Split tunnel fails closed: with the Intermediate gone the services' packets do not leave by the default route."""
    with System(own, services=("web", "echo")) as system:
        system.intermediate.process.kill9()
        with Capture(own, "agent1", "eth0") as seen:
            leave_nothing(own, seen, "no control connection")
            system.agent.process.kill9()
            leave_nothing(own, seen, "no agent")
            system.agent.start().process.wait_log("started")
            leave_nothing(own, seen, "agent without a control connection, after a crash")
            assert system.agent.run("down").returncode == 0
            assert system.agent.process.wait(5) == 0
            assert ping(own, "agent1", virtual4("web"), count=1, wait=1) is None
            wait_for(lambda: seen.rows("net", "10.100.0.0/24"), 3, "packets by the default route after `down`")


def leave_nothing(own, seen, when):
    for address in (virtual4("web"), f"[{virtual6('web')}]"):
        assert own.attempt("agent1", "ping", "-c", "2", "-i", "0.2", "-W", "1", address.strip("[]")).returncode != 0
        assert curl(own, "agent1", f"http://{address}/", timeout=2).returncode != 0
    # What went out before this one is in the capture when it is.
    mark = f"the end: {when}"
    own.run("agent1", PYTHON, "-c", "import socket, sys\nsocket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto("
            "sys.argv[1].encode(), ('10.10.1.1', 9))", mark)
    seen.wait_contains(mark.encode())
    out = seen.rows("net 10.100.0.0/24 or net fd5a:7a74:6e61::/64")
    assert not out, f"{when}: {out}"


def test_service_ip_of_the_connector_is_enforced(own):
    """`service_ip` pins the address that packets must carry; another one is dropped and counted."""
    services = [{"id": "echo", **configs.SERVICES["echo"][1], "service_ip": "10.100.0.12"}]
    agent_services = [{"id": "echo", "virtualIp": "10.100.0.44"}]
    with System(own, services=("echo",), connector={"services": services},
                agent={"services": agent_services, "serviceId": "echo"}) as system:
        before = system.connector.metrics()
        reply = client(own, "agent1", "udp_client.py", "once", "10.100.0.44", 7000, "wrong address", 1)
        assert reply["reply"] is None
        assert matching(increases(before, system.connector.metrics()), "wrong_service_ip")
