"""`ztna-agent doctor` names what does not work on this network, and nothing else."""
import contextlib
import json
import subprocess

import pytest
from ztna_net import configs
from ztna_net.configs import virtual4, virtual6
from ztna_net.metrics import matching, total
from ztna_net.pki import program
from ztna_net.processes import mounts_of_its_own, wait_for
from ztna_net.system import System
from ztna_net.topology import INTERMEDIATE4, Network

PROBE_PORT = 4434
INPUT = """
table inet local {
  chain input {
    type filter hook input priority filter;
    iifname "ztna0" drop
  }
}
"""
# What a firewall of this machine may do to services alone: one that knows nothing of the Agent's own two addresses.
SERVICE_RULES = {
    "answers of an IPv4 service": ("input", f"ip saddr {virtual4('web')} drop", {virtual4("web")}),
    "answers of an IPv6 service": ("input", f"ip6 saddr {virtual6('web')} drop", {virtual6("web")}),
    "packets to a service": ("output", f"ip daddr {virtual4('web')} drop", {virtual4("web")}),
    "refused by RST": ("output", f"ip daddr {virtual4('web')} meta l4proto tcp reject with tcp reset", {virtual4("web")}),
    "refused by ICMP": ("output", f"ip daddr {virtual4('web')} reject with icmp type admin-prohibited", {virtual4("web")}),
}
SERVICE_RULE = """
table inet local {
  chain services {
    type filter hook %s priority filter;
    %s
  }
}
"""
# A firewall as it should be: what is not an answer comes in by the tunnel's device from the re-entry address only.
STRICT = """
table inet strict {
  chain input {
    type filter hook input priority filter; policy drop;
    ct state established,related accept
    iifname "lo" accept
    icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert } accept
    iifname "ztna0" ip saddr 10.100.0.253 accept
    iifname "ztna0" ip6 saddr fd5a:7a74:6e61::fffd accept
  }
}
"""
NAME = "relay.test"
# No name server: nobody listens there, which the kernel says at once.
NO_RESOLVER = "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n"
NO_UDP = f"""
table inet blocked {{
  chain forward {{
    type filter hook forward priority filter - 5;
    udp dport {configs.PORT} drop
    udp sport {configs.PORT} drop
  }}
}}
"""


def doctor(system, *flags):
    done = system.net.attempt("agent1", *system.agent.command("doctor", *flags), timeout=20)
    return done.returncode, done.stdout


def checks(system):
    """Exit code and {check: finding}."""
    code, out = doctor(system, "--json")
    report = json.loads(out)
    assert report["ok"] == (code == 0)
    return code, {c["check"]: c for c in report["checks"]}


def verdicts(system):
    return {name: c["verdict"] for name, c in checks(system)[1].items()}


def trouble(system):
    return {name: c for name, c in checks(system)[1].items() if c["verdict"] != "ok"}


@contextlib.contextmanager
def running(**network):
    with Network(**network) as net, System(net, services=("web",), intermediate={"probe_port": PROBE_PORT}) as system:
        yield system


def wait_healthy(system):
    wait_for(lambda: not trouble(system), 20, lambda: f"all well: {trouble(system)}")


def test_without_an_agent_it_says_so(tmp_path):
    done = subprocess.run([program("ztna-agent"), "--control-socket", tmp_path / "none.sock", "doctor"],
                          capture_output=True, text=True, timeout=10)
    assert done.returncode == 2 and "no agent is running" in done.stderr


def test_all_is_well_until_a_firewall_of_this_machine_drops_re_entry():
    with running() as system:
        wait_healthy(system)
        code, found = checks(system)
        assert code == 0
        assert set(found) >= {"dns", "udp", "control", "nat", "ipv6", "mtu", "firewall", "clock"}
        assert "endpoint-independent mapping" in found["nat"]["text"] and "cone" in found["nat"]["text"]
        code, text = doctor(system)
        assert code == 0 and "fail" not in text and "to mend it" not in text
        system.net.nft("agent1", INPUT)
        code, found = checks(system)
        assert code == 1 and found["firewall"]["verdict"] == "fail"
        assert "IPv4 and IPv6" in found["firewall"]["text"] and "ztna0" in found["firewall"]["remedy"]
        assert {n for n, c in found.items() if c["verdict"] != "ok"} == {"firewall"}
        code, text = doctor(system)
        assert code == 1 and "fail  firewall" in text and "to mend it" in text
        system.net.run("agent1", "nft", "delete", "table", "inet", "local")
        wait_healthy(system)


def test_blocked_udp_is_named():
    with running() as system:
        wait_healthy(system)
        system.net.nft("nata", NO_UDP)
        code, found = checks(system)
        assert code == 1 and found["udp"]["verdict"] == "fail"
        assert f":{configs.PORT}" in found["udp"]["text"] and "UDP" in found["udp"]["remedy"]
        assert found["firewall"]["verdict"] == "ok" and found["dns"]["verdict"] == "ok"
        wait_for(lambda: verdicts(system)["control"] == "fail", 40, "the control connection is given up")


def test_a_symmetric_nat_is_named():
    with running(nat_a="symmetric") as system:
        def measured():
            found = trouble(system)
            return set(found) == {"nat"} and "symmetric" in found["nat"]["text"]
        wait_for(measured, 20, lambda: f"only a symmetric NAT: {trouble(system)}")
        code, found = checks(system)
        assert code == 0 and found["nat"]["verdict"] == "warn"
        assert "symmetric" in found["nat"]["text"] and "mapping" in found["nat"]["text"]
        assert found["nat"]["remedy"]


def test_a_firewall_that_drops_services_only_is_named():
    with running() as system:
        wait_healthy(system)
        system.net.nft("agent1", STRICT)
        wait_healthy(system)
        for what, (hook, rule, addresses) in SERVICE_RULES.items():
            system.net.nft("agent1", SERVICE_RULE % (hook, rule))
            code, found = checks(system)
            assert code == 1 and found["firewall"]["verdict"] == "fail", f"{what}: {found['firewall']}"
            named = {a for a in (virtual4("web"), virtual6("web")) if f"{a} (web)" in found["firewall"]["text"]}
            assert named == addresses and found["firewall"]["remedy"], f"{what}: {found['firewall']}"
            assert {n for n, c in found.items() if c["verdict"] != "ok"} == {"firewall"}, what
            system.net.run("agent1", "nft", "delete", "table", "inet", "local")
        wait_healthy(system)
        assert total(matching(system.agent.metrics(), 'fate="syn_answered"'), "ztna_agent_tun_packets_total") > 0


def test_the_control_socket_is_enough():
    """No file, no server named: the running agent knows its own."""
    with running() as system:
        wait_healthy(system)
        command = (program("ztna-agent"), "--control-socket", system.agent.folder / "agent.sock")
        done = system.net.attempt("agent1", *command, "doctor", "--json", timeout=20)
        found = {c["check"]: c for c in json.loads(done.stdout)["checks"]}
        assert done.returncode == 0, found
        assert INTERMEDIATE4 in found["dns"]["text"] and f"{INTERMEDIATE4}:{configs.PORT}" in found["udp"]["text"]
        done = system.net.attempt("agent1", *command, "--server", f"{INTERMEDIATE4}:9", "doctor", "--json", timeout=20)
        udp = [c for c in json.loads(done.stdout)["checks"] if c["check"] == "udp"]
        assert [c["verdict"] for c in udp] == ["ok", "fail"] and f"{INTERMEDIATE4}:9" in udp[1]["text"]


def with_names(net, hosts, resolver, *command):
    """The command line with files of its own in the place of /etc/hosts and /etc/resolv.conf."""
    script = f"mount --bind {hosts} /etc/hosts && mount --bind {resolver} /etc/resolv.conf && exec \"$@\""
    return ["unshare", "--mount", "--propagation", "private", "bash", "-c", script, "-", *command]


@pytest.mark.skipif(not mounts_of_its_own(), reason="a resolv.conf of one's own needs a root that is a mount point")
def test_a_name_that_cannot_be_looked_up_is_named():
    with Network() as net:
        system = System(net, services=("web",), intermediate={"probe_port": PROBE_PORT}, agent={"serverHost": NAME})
        system.intermediate.use_identity(system.pki.issue("intermediate", "named", hosts=[NAME, INTERMEDIATE4]))
        system.intermediate.start().wait_ready()
        system.connector.start().wait_ready()
        hosts, resolver = net.folder("hosts"), net.folder("resolv.conf")
        hosts.write_text("127.0.0.1 localhost\n")
        resolver.write_text(NO_RESOLVER)
        system.agent.process = net.spawn("agent1", *with_names(net, hosts, resolver, *system.agent.command()),
                                         log=system.agent.folder / "agent.log")
        wait_for(lambda: "cannot resolve the Intermediate" in system.agent.log(), 10, system.agent.log)

        def findings():
            done = net.attempt("agent1", *with_names(net, hosts, resolver, *system.agent.command("doctor", "--json")),
                               timeout=20)
            return done.returncode, {c["check"]: c for c in json.loads(done.stdout)["checks"]}
        code, found = findings()
        assert code == 1 and found["dns"]["verdict"] == "fail", found
        assert NAME in found["dns"]["text"] and "resolution" in found["dns"]["text"] and "resolver" in found["dns"]["remedy"]
        assert "udp" not in found, "nothing is known of it"
        assert found["control"]["verdict"] == "fail" and NAME in found["control"]["text"]
        assert found["firewall"]["verdict"] == "ok" and found["clock"]["verdict"] == "ok"
        with open(hosts, "a") as names:  # the same file, mounted over the other
            names.write(f"{INTERMEDIATE4} {NAME}\n")
        wait_for(system.agent.ready, 10, lambda: f"the agent finds it by itself:\n{system.agent.log()[-2000:]}")
        code, found = findings()
        assert found["dns"]["verdict"] == "ok" and f"{NAME} is {INTERMEDIATE4}" in found["dns"]["text"]
        assert found["udp"]["verdict"] == "ok" and found["control"]["verdict"] == "ok" and code == 0
        system.stop()
