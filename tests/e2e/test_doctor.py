"""`ztna-agent doctor` names what does not work on this network, and nothing else."""
import contextlib
import json
import subprocess

from ztna_net import configs
from ztna_net.pki import program
from ztna_net.processes import wait_for
from ztna_net.system import System
from ztna_net.topology import Network

PROBE_PORT = 4434
INPUT = """
table inet local {
  chain input {
    type filter hook input priority filter;
    iifname "ztna0" drop
  }
}
"""
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
