"""TCP as applications know it: half-close, reset, backpressure, idle connections, order of bytes.

    agent1 -- nata -- inet -- natb -- connector -- backend (tcp_server.py)
                       |
                  intermediate
"""
import json
import subprocess
from statistics import median

import pytest
from ztna_net.backends import DIGEST, INSIDE, PYTHON, RESET, STALLED, client, curl
from ztna_net.configs import virtual4, virtual6
from ztna_net.processes import wait_for


@pytest.mark.parametrize("address", [virtual4, virtual6])
@pytest.mark.parametrize("size", [0, 1, 5_000_000])
def test_half_close(system, address, size):
    done = client(system.net, "agent1", "tcp_client.py", "half_close", address("lab"), DIGEST, size)
    assert done["answer"] == done["expected"]


@pytest.mark.alone
def test_reset_in_mid_transfer(system):
    """What came before it is delivered, and the reset arrives within a tunnel RTT + 50 ms."""
    tries = [client(system.net, "agent1", "tcp_client.py", "until_reset", virtual4("lab"), RESET) for _ in range(5)]
    assert all(t["outcome"] == "RST" and t["bytes"] == 100_000 for t in tries), tries
    assert median(t["seconds"] for t in tries) < system.tunnel_rtt() + 0.05, tries


def test_user_resets(system):
    """A user's reset reaches the backend: no connection stays there."""
    script = ("import socket, struct, sys\ns = socket.create_connection((sys.argv[1], int(sys.argv[2])))\n"
              "s.sendall(b'hello')\ns.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))\ns.close()")
    system.net.run("agent1", PYTHON, "-c", script, virtual4("lab"), STALLED)
    wait_for(lambda: not system.net.connections("backend", "state", "established", f"( sport = :{STALLED} )"), 5,
             "the end of the backend's connection")


def test_backpressure_holds_one_stream_and_not_the_others(system):
    stalled = system.net.popen("agent1", PYTHON, INSIDE / "tcp_client.py", "fill", virtual4("lab"), STALLED, 4,
                               stdout=subprocess.PIPE, text=True)
    wait_for(lambda: system.net.connections("backend", "state", "established", f"( sport = :{STALLED} )"), 5,
             "the stalled connection")
    for _ in range(5):
        assert curl(system.net, "agent1", f"http://{virtual4('web')}/", timeout=2).returncode == 0
    done = json.loads(stalled.communicate(timeout=60)[0])
    # The backend's and the user's kernel buffers and one stream window fit; not much more may be in our hands.
    assert done["outcome"] == "blocked" and done["bytes"] < 64 << 20, done


def test_backpressure_in_many_streams_at_once(system):
    """Twenty stalled uploads: the twenty-first connection still works, and memory stays bounded."""
    jobs = [system.net.popen("agent1", PYTHON, INSIDE / "tcp_client.py", "fill", virtual4("lab"), STALLED, 60,
                             stdout=subprocess.PIPE, text=True) for _ in range(20)]
    wait_for(lambda: len(system.net.connections("backend", "state", "established", f"( sport = :{STALLED} )")) >= 20, 10,
             "twenty stalled connections")
    done = client(system.net, "agent1", "tcp_client.py", "half_close", virtual4("lab"), DIGEST, 100_000)
    assert done["answer"] == done["expected"]
    for daemon in (system.agent, system.connector):
        with open(f"/proc/{daemon.process.pid}/status") as f:
            rss = next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))
        assert rss < 1 << 20, f"{daemon.kind}: {rss} kB"
    for job in jobs:  # all were stalled until here
        assert job.poll() is None
        job.kill()
        job.communicate()
