"""./dev demo, as a user sees it: all its checks, how it ends, and that nothing of it stays.

Its network is the one of these tests, made by the demo itself."""
import os
import re
import signal
import subprocess
import sys

import pytest
from ztna_net.backends import PAGE_MARK
from ztna_net.processes import sh, wait_for
from ztna_net.topology import ROOT

pytestmark = pytest.mark.full
COMMAND = [sys.executable, str(ROOT / "tools/demo/demo.py")]


class Demo:
    def __init__(self, folder, *arguments):
        self.path = folder / "demo.txt"
        with open(self.path, "wb") as out:
            # A shell lets what it starts in the background ignore SIGINT, and we may have been started so.
            self.popen = subprocess.Popen([*COMMAND, *arguments], stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                          preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))

    def text(self):
        return self.path.read_text()

    def wait_says(self, words, seconds):
        wait_for(lambda: words in self.text() or self.popen.poll() is not None, seconds, lambda: f"{words!r} in:\n{self.text()}")
        assert words in self.text(), self.text()

    def namespaces(self):
        return [name for name in sh("ip", "netns", "list").split() if name.startswith(f"zt-{self.popen.pid}.")]


@pytest.fixture
def demo(tmp_path):
    running = []

    def start(*arguments):
        running.append(Demo(tmp_path, *arguments))
        return running[-1]

    yield start
    for one in running:
        if one.popen.poll() is None:
            one.popen.terminate()
            one.popen.wait(20)


def test_every_check_passes_and_nothing_stays(demo):
    show = demo()
    assert show.popen.wait(180) == 0, show.text()
    text = show.text()
    assert "All checks passed" in text and "FAILED" not in text, text
    assert len(re.findall(r"^  \[  ok  \]", text, re.M)) == 14, text  # 10 of the agent host, 3 of tcpdump, 1 of the second act
    for words in ("not found,", "65507 bytes", "Direct first", "Removing it ... done"):
        assert words in text, text
    assert not show.namespaces()


def test_keep_says_how_to_enter_and_ctrl_c_removes_it(demo):
    show = demo("--keep")
    show.wait_says("Press Enter or Ctrl-C", 180)
    host = re.search(r"sudo (ip netns exec (\S+) bash)", show.text())
    assert host and host[2] in show.namespaces()
    page = re.search(r"^  curl (\S+)$", show.text(), re.M)[1]
    agent = next(name for name in show.namespaces() if name.endswith("agent1"))
    assert PAGE_MARK in sh("ip", "netns", "exec", agent, "curl", "-s", "-m", "10", page)
    status = re.search(r"^  (\S+ztna-agent --config \S+ status)$", show.text(), re.M)[1]
    assert "web" in sh("ip", "netns", "exec", agent, *status.split())
    show.popen.send_signal(signal.SIGINT)
    assert show.popen.wait(30) == 0, show.text()
    assert "Removing it ... done" in show.text() and not show.namespaces()


def test_ctrl_c_half_way_removes_it(demo):
    show = demo()
    show.wait_says("What the agent host sees", 60)
    assert show.namespaces()
    children = sh("ps", "--ppid", str(show.popen.pid), "-o", "pid=").split()
    show.popen.send_signal(signal.SIGINT)
    assert show.popen.wait(30) == 130, show.text()
    assert show.text().rstrip().endswith("stopped") and not show.namespaces()
    assert children and not any(os.path.exists(f"/proc/{pid}") for pid in children)
