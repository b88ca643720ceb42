"""Two Agents with the same source ports at once never see each other's packets.

    agent1 --+
             nata -- inet -- natb -- connector -- backend (udp_echo.py)
    agent2 --+         |
                  intermediate
"""
import json
import subprocess

from ztna_net.backends import ECHO_PORT, INSIDE, PYTHON
from ztna_net.configs import virtual4, virtual6


def test_same_source_ports_never_cross(each_way):
    packets, sockets, first = 10_000, 20, 41_000
    for address in (virtual4, virtual6):
        jobs = {host: each_way.net.popen(host, PYTHON, INSIDE / "udp_client.py", "tagged", address("echo"), ECHO_PORT, host, first,
                                       sockets, packets, stdout=subprocess.PIPE, text=True)
                for host in ("agent1", "agent2")}
        for host, job in jobs.items():
            done = json.loads(job.communicate(timeout=110)[0])
            assert done == {"sent": packets, "received": packets, "crossed": 0}, host
