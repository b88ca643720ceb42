"""Pages through the relay and on direct paths: large ones both ways, many at once, many short ones, over IPv4 and IPv6.

    agent1 (curl, ab) -- nata -- inet -- natb -- connector -- backend (nginx, IPv4 and IPv6)
                                  |
                             intermediate
"""
import hashlib
import re
import subprocess

import pytest
from ztna_net.backends import BIG_BYTES, FAREWELL, PAGE_MARK, big_file, client, curl, sha256_of
from ztna_net.capture import Capture
from ztna_net.configs import virtual4, virtual6
from ztna_net.processes import wait_for


@pytest.mark.parametrize("service", ["web", "web6"])
def test_page(each_way, service):
    """Both families of the user's address reach backends of both families."""
    for url in (f"http://{virtual4(service)}/", f"http://[{virtual6(service)}]/"):
        done = curl(each_way.net, "agent1", url, timeout=10)
        assert PAGE_MARK in done.stdout, done.stderr


def test_text_is_on_the_backends_link_and_nowhere_before(each_way):
    relayed = each_way.net.counters("packets")["relayed"]
    with Capture(each_way.net, "backend", "eth0", "tcp port 80") as behind, \
            Capture(each_way.net, "intermediate", "wan") as middle, Capture(each_way.net, "nata", "lan1") as before:
        assert PAGE_MARK in curl(each_way.net, "agent1", f"http://{virtual4('web')}/").stdout
        behind.wait_contains(PAGE_MARK.encode())
        # The answer crossed the Agent's link, and on the relay the Intermediate's, before it reached the user.
        sent = each_way.net.counters("packets")["relayed"] - relayed
        assert each_way.way != "relay" or sent >= 8, f"{sent} relayed packets: request, answer, acknowledgements, twice each"
        wait_for(lambda: before.packets() >= 4 and (each_way.way != "relay" or middle.packets() >= 8), 5, "the tunnel's packets")
    for capture in (middle, before):
        assert not capture.contains(PAGE_MARK.encode()) and not capture.contains(b"GET / HTTP")


def test_download_200_mb(each_way):
    _, digest = big_file()
    target = each_way.net.work / "download.bin"
    done = curl(each_way.net, "agent1", f"http://{virtual4('web')}/big.bin", "-o", target, timeout=110)
    assert done.returncode == 0, done.stderr
    assert target.stat().st_size == BIG_BYTES and sha256_of(target) == digest
    target.unlink()


def test_upload_200_mb(each_way, backends):
    path, digest = big_file()
    done = curl(each_way.net, "agent1", f"http://[{virtual6('web')}]/up/big.bin", "-T", path, "-o", "/dev/null", timeout=110)
    assert done.returncode == 0, done.stderr
    stored = backends.uploaded("big.bin")
    assert stored.stat().st_size == BIG_BYTES and sha256_of(stored) == digest
    stored.unlink()


def test_100_parallel_downloads(each_way, backends):
    content = (b"0123456789abcdef" * 65536)[:1_000_000]
    (backends.www / "million.bin").write_bytes(content)
    folder = each_way.net.work / "parallel"
    folder.mkdir(exist_ok=True)
    jobs = [each_way.net.popen("agent1", "curl", "-sS", "-f", "-m", "60", "-o", folder / str(i),
                             f"http://{virtual4('web')}/million.bin", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                             text=True) for i in range(100)]
    errors = [job.communicate(timeout=90)[1] for job in jobs]
    assert [job.returncode for job in jobs] == [0] * 100, [e for e in errors if e][:5]
    wanted = hashlib.sha256(content).hexdigest()
    assert {sha256_of(folder / str(i)) for i in range(100)} == {wanted}


def test_2000_short_connections_by_ab(each_way):
    done = each_way.net.attempt("agent1", "ab", "-q", "-s", "20", "-n", "2000", "-c", "20", f"http://{virtual4('web')}/",
                              timeout=110)
    assert done.returncode == 0, done.stderr
    assert int(re.search(r"Complete requests:\s+(\d+)", done.stdout)[1]) == 2000
    assert int(re.search(r"Failed requests:\s+(\d+)", done.stdout)[1]) == 0, done.stdout


def test_200_connections_one_after_the_other(system):
    done = client(system.net, "agent1", "tcp_client.py", "many", virtual4("lab"), FAREWELL, 200)
    assert done["good"] == 200, done
