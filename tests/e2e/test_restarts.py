"""Kill -9 and restart of each daemon: service is back within 3 s of the daemon being up again.

    agent1 -- nata -- inet -- natb -- connector -- backend
                       |
                  intermediate
"""
import json
import subprocess
import time

import pytest
from ztna_net.backends import BIG_BYTES, ECHO_PORT, INSIDE, PYTHON, Backends, big_file, client, curl, sha256_of
from ztna_net.configs import virtual4
from ztna_net.processes import wait_for
from ztna_net.system import System
from ztna_net.topology import Network

BACK_WITHIN = 3.0


@pytest.fixture(scope="module")
def running():
    with Network() as net:
        Backends(net)
        net.block_direct(True)  # what the relay has to survive; test_restarts_direct.py has the direct path
        with System(net) as system:
            yield system


def echo_works(system, timeout=0.3):
    return client(system.net, "agent1", "udp_client.py", "once", virtual4("echo"), ECHO_PORT, "back", timeout)["reply"] == "back"


def page_works(system):
    return curl(system.net, "agent1", f"http://{virtual4('web')}/", "--connect-timeout", "0.5", timeout=2).returncode == 0


def back_after_a_kill(system, kind, probe):
    """Kills the daemon and starts it again; the service must be back within BACK_WITHIN. test_restarts_direct.py uses it, too."""
    wait_for(lambda: probe(system), 5, "service before the kill")
    daemon = getattr(system, kind)
    daemon.restart_after_kill()
    started = time.monotonic()  # the program needs a moment more to be up
    wait_for(lambda: probe(system), 15, lambda: f"service after {kind} came back:\n{daemon.log()[-2000:]}")
    assert time.monotonic() - started < BACK_WITHIN


@pytest.mark.parametrize("kind", ["agent", "connector", "intermediate"])
@pytest.mark.parametrize("probe", [echo_works, page_works])
def test_service_is_back_after_a_kill(running, kind, probe):
    back_after_a_kill(running, kind, probe)


@pytest.mark.parametrize("kind", ["connector", "intermediate"])
def test_service_is_back_after_a_long_outage(running, kind):
    """Away for 12 s: what backed off meanwhile must not keep the service away when the daemon is up again."""
    daemon = {"connector": running.connector, "intermediate": running.intermediate}[kind]
    wait_for(lambda: echo_works(running), 5, "service before the kill")
    daemon.process.kill9()
    away_until = time.monotonic() + 12
    while time.monotonic() < away_until:
        assert not page_works(running)
    daemon.start()
    started = time.monotonic()
    wait_for(lambda: echo_works(running), 15, lambda: f"service after {kind} came back:\n{daemon.log()[-2000:]}")
    assert time.monotonic() - started < BACK_WITHIN
    assert page_works(running)


def test_transfer_survives_a_restart_of_the_intermediate(running):
    _, digest = big_file()
    target = running.net.work / "survivor.bin"
    job = running.net.popen("agent1", "curl", "-sS", "-f", "-m", "100", "--limit-rate", "40M", "-o", target,
                            f"http://{virtual4('web')}/big.bin", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: target.exists() and target.stat().st_size > BIG_BYTES // 10, 20, "a tenth of the file")
    running.intermediate.restart_after_kill()
    assert job.poll() is None, "the transfer ended before the restart"
    errors = job.communicate(timeout=110)[1]
    assert job.returncode == 0, errors
    assert sha256_of(target) == digest
    target.unlink()


def test_transfer_goes_on_at_once_after_a_long_outage(running):
    """The retransmission timers of both ends have backed off by seconds: the route's return must end their wait."""
    target = running.net.work / "patient.bin"
    job = running.net.popen("agent1", "curl", "-sS", "-f", "-m", "100", "--limit-rate", "20M", "-o", target,
                            f"http://{virtual4('web')}/big.bin", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def size():
        return target.stat().st_size if target.exists() else 0
    wait_for(lambda: size() > BIG_BYTES // 20, 20, "a twentieth of the file")
    running.intermediate.process.kill9()
    back_at = time.monotonic() + 8
    wait_for(lambda: time.monotonic() >= back_at, 9, "the outage's end")
    stalled = size()
    running.intermediate.start()
    started = time.monotonic()
    wait_for(lambda: size() > stalled, 15, "the first octet after the outage")
    gap = time.monotonic() - started
    errors = job.communicate(timeout=110)[1]
    assert job.returncode == 0, errors
    assert sha256_of(target) == big_file()[1]
    target.unlink()
    assert gap < BACK_WITHIN, gap


def test_gap_after_a_restart_of_the_intermediate(running):
    """An even UDP stream of 100/s over the restart: the gap is the time that the Intermediate was away, and little more."""
    job = running.net.popen("agent1", PYTHON, INSIDE / "udp_client.py", "steady", virtual4("echo"), ECHO_PORT, 100, 8,
                            stdout=subprocess.PIPE, text=True)
    wait_for(lambda: running.net.run("agent1", "ss", "-Hnu", "dst", virtual4("echo")).strip(), 5, "the stream")
    running.intermediate.restart_after_kill()
    running.intermediate.wait_ready()
    done = json.loads(job.communicate(timeout=40)[0])
    assert done["longest_gap_s"] < BACK_WITHIN, done
    assert done["received"] > 400, done


def test_nat_rebinding_is_survived(running):
    """Every mapping of the Agent's NAT changes: the tunnel goes on."""
    wait_for(lambda: echo_works(running), 5, "service before")
    running.net.rebind("nata")
    started = time.monotonic()
    wait_for(lambda: echo_works(running), 15, "service after the rebinding")
    assert time.monotonic() - started < BACK_WITHIN
