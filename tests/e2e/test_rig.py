"""The rig itself: what reaches what when no tunnel is there. No daemon of ours runs here.

    agent1, agent2 -- nata -- inet -- natb -- connector -- backend
                               |
                          intermediate
"""
import json
import os
import pathlib
import signal
import subprocess
import sys

import jsonschema
import pytest
from ztna_net import configs
from ztna_net.backends import ECHO_PORT, PAGE_MARK, SPOOF_PORT, client, curl, ping
from ztna_net.capture import Capture
from ztna_net.processes import pid_alive, sh, wait_for
from ztna_net.topology import (ADDRESS, BACKEND4, BACKEND4_OTHER, BACKEND6, INTERMEDIATE4, INTERMEDIATE6, ROOT,
                               WAN_LEGS_MS, Network)


@pytest.mark.parametrize("host", ["agent1", "agent2", "intermediate"])
@pytest.mark.parametrize("address", [BACKEND4, BACKEND6])
def test_backend_is_out_of_reach_without_a_tunnel(net, backends, host, address):
    assert ping(net, host, address, count=1, wait=1) is None
    url = f"http://[{address}]/" if ":" in address else f"http://{address}/"
    assert curl(net, host, url, "--connect-timeout", "1").returncode != 0


@pytest.mark.parametrize("family", [0, 1])
def test_nothing_comes_in_through_the_nats(net, family):
    for outside, inside in (("intermediate", "agent1"), ("intermediate", "connector"), ("agent1", "connector"),
                            ("connector", "agent2")):
        assert ping(net, outside, ADDRESS[inside][family], count=1, wait=1) is None, f"{outside} reached {inside}"


@pytest.mark.parametrize("host", ["agent1", "agent2", "connector"])
@pytest.mark.parametrize("address", [INTERMEDIATE4, INTERMEDIATE6])
def test_everybody_reaches_the_intermediate(net, host, address):
    assert ping(net, host, address, count=2) is not None


@pytest.mark.parametrize("address", [BACKEND4, BACKEND6])
def test_connector_reaches_the_backend(net, backends, address):
    url = f"http://[{address}]/" if ":" in address else f"http://{address}/"
    assert PAGE_MARK in curl(net, "connector", url).stdout
    sizes = client(net, "connector", "udp_client.py", "sizes", address, ECHO_PORT, 0, 1, 1472, 1473, 65507)
    assert len(sizes["results"]) == 20 and not sizes["bad"]


def test_spoofing_backend_answers_from_its_other_address(net, backends):
    with Capture(net, "backend", "eth0", f"udp and src host {BACKEND4_OTHER}") as seen:
        reply = client(net, "connector", "udp_client.py", "once", BACKEND4, SPOOF_PORT, "OTHER who", 0.5)
        seen.wait_contains(b"OTHER who")
    assert reply["reply"] is None, "a connected socket took a reply from a stranger"
    assert client(net, "connector", "udp_client.py", "once", BACKEND4, SPOOF_PORT, "who", 2)["reply"] == "who"


def test_nat_hides_ipv4_and_routes_ipv6(net):
    for host, nat in (("agent1", "nata"), ("connector", "natb")):
        with Capture(net, "intermediate", "wan", "icmp or icmp6") as seen:
            assert ping(net, host, INTERMEDIATE4, count=1) is not None
            assert ping(net, host, INTERMEDIATE6, count=1) is not None
            wait_for(lambda: seen.packets() >= 4, 5, "four ICMP packets")
        text = net.run("intermediate", "tcpdump", "-nn", "-r", seen.path)
        assert f"{ADDRESS[nat][0]} > {INTERMEDIATE4}" in text
        assert ADDRESS[host][0] not in text, "the private IPv4 address got out"
        assert f"{ADDRESS[host][1]} > {INTERMEDIATE6}" in text


def test_agents_share_a_lan(net):
    assert ping(net, "agent2", ADDRESS["agent1"][0], count=1) is not None
    assert ping(net, "agent2", ADDRESS["agent1"][1], count=1) is not None


def test_capture_finds_plain_text(net, backends):
    with Capture(net, "backend", "eth0", "tcp port 80") as seen:
        curl(net, "connector", f"http://{BACKEND4}/")
        seen.wait_contains(PAGE_MARK.encode())
        assert not seen.contains(b"text that nobody sent")


def test_delay_legs_give_the_round_trip():
    with Network(legs_ms=WAN_LEGS_MS) as delayed:
        for host, family in (("agent1", 0), ("agent1", 1), ("connector", 0)):
            rtt = ping(delayed, host, ADDRESS["intermediate"][family], count=5)
            assert rtt is not None and 19.5 <= rtt <= 26, f"{host}: {rtt} ms instead of 20"
        delayed.set_leg("intermediate", 6.25, extra6_ms=10)
        for family, wanted in ((0, 20), (1, 40)):
            rtt = ping(delayed, "agent1", ADDRESS["intermediate"][family], count=5)
            assert rtt is not None and wanted - 0.5 <= rtt <= wanted + 6, f"{rtt} ms instead of {wanted}"
        # Of changes that the link finds at once, as after a test that restores and one that sets, the last one holds.
        link = next(p for p in delayed.processes if "delaylink-intermediate" in str(p.log_path))
        os.kill(link.pid, signal.SIGSTOP)
        delayed.set_leg("intermediate", 6.25)
        delayed.set_leg("intermediate", 6.25, extra6_ms=20)
        os.kill(link.pid, signal.SIGCONT)
        rtt = ping(delayed, "agent1", ADDRESS["intermediate"][1], count=5)
        assert rtt is not None and 59.5 <= rtt <= 66, f"{rtt} ms instead of 60"


def test_direct_path_can_be_blocked(net):
    # nata and natb answer nobody, so the counters tell.
    before = net.counters()["direct"]
    net.block_direct(True)
    assert ping(net, "nata", ADDRESS["natb"][0], count=1, wait=1) is None
    net.block_direct(False)
    assert net.counters()["direct"] > before
    assert ping(net, "agent1", INTERMEDIATE4, count=1) is not None


def test_leftovers_of_a_killed_run_are_swept():
    script = ("import os, signal, sys; sys.path.insert(0, sys.argv[1]); from ztna_net.topology import Network\n"
              "net = Network().__enter__(); net.spawn('agent1', 'tail', '-f', '/dev/null', log=os.devnull)\n"
              "print(os.getpid(), net.processes[-1].pid, flush=True); signal.pause()")
    child = subprocess.Popen([sys.executable, "-c", script, os.path.dirname(__file__)], stdout=subprocess.PIPE, text=True)
    owner, daemon = child.stdout.readline().split()
    assert f"zt-{owner}." in sh("ip", "netns", "list")
    child.send_signal(signal.SIGKILL)
    child.wait()
    wait_for(lambda: not pid_alive(daemon), 5, "the daemon's end with its owner")
    with Network():
        assert f"zt-{owner}." not in sh("ip", "netns", "list")


def test_sigterm_removes_everything():
    script = ("import os, signal, sys; sys.path.insert(0, sys.argv[1]); from ztna_net.topology import Network\n"
              "with Network() as net:\n  print(os.getpid(), flush=True); signal.pause()")
    child = subprocess.Popen([sys.executable, "-c", script, os.path.dirname(__file__)], stdout=subprocess.PIPE, text=True)
    owner = child.stdout.readline().strip()
    child.terminate()
    child.wait(20)
    assert f"zt-{owner}." not in sh("ip", "netns", "list")


def test_rebinding_gives_a_new_port():
    with Network() as own:
        own.spawn("intermediate", "socat", "-u", "UDP4-RECV:9999", "STDOUT", log=own.work / "socat.log")
        wait_for(lambda: own.listening("intermediate", "udp", 9999), 5, "socat")
        with Capture(own, "intermediate", "wan", "udp port 9999") as seen:
            def ports():
                own.run("agent1", "bash", "-c", f"echo hello | socat - UDP4:{INTERMEDIATE4}:9999,sourceport=5555")
                rows = own.run("intermediate", "tcpdump", "-nn", "-r", seen.path, check=False).splitlines()
                return {row.split()[2].rsplit(".", 1)[1] for row in rows}
            wait_for(lambda: len(ports()) == 1, 5, "the first packet")
            own.rebind("nata")  # the kernel forgets the mappings from a work queue: a packet may still find the old one
            wait_for(lambda: len(ports()) == 2, 5, "a packet from another port")
        assert ping(own, "agent1", INTERMEDIATE6, count=1) is not None


@pytest.mark.parametrize("offloads,small", [("", ""), ("off", "1")])
@pytest.mark.parametrize("kind", ["agent", "connector", "intermediate"])
def test_config_files_keep_to_the_schemas(kind, offloads, small, monkeypatch):
    monkeypatch.setenv("ZTNA_E2E_OFFLOADS", offloads)
    monkeypatch.setenv("ZTNA_E2E_SMALL_BUFFERS", small)
    schema = json.loads((ROOT / f"packaging/schema/{kind}.schema.json").read_text())
    written = getattr(configs, kind)(pathlib.Path("/folder"))
    assert ("offloads" in written) == (offloads == "off")
    jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker()).validate(written)
