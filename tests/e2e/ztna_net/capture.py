"""tcpdump on a link, and what is in the packets."""
import os

from .processes import wait_for


class Capture:
    """`with Capture(net, "backend", "eth0") as c: ...` then c.contains(b"text"). Packets are whole (snaplen 0)."""

    def __init__(self, net, host, interface, expression=""):
        self.net, self.path = net, net.work / f"{host}-{interface}-{id(self):x}.pcap"
        self.log = net.work / f"tcpdump-{host}-{interface}-{id(self):x}.log"
        self.host, self.interface, self.expression = host, interface, expression

    def __enter__(self):
        self.process = self.net.spawn(self.host, "tcpdump", "-i", self.interface, "-U", "-s", "0", "-B", "8192", "-Z", "root",
                                      "-w", self.path, *self.expression.split(), log=self.log)
        self.process.wait_log("listening on", 10)
        return self

    def __exit__(self, *_):
        if self.process.running():
            self.process.stop()

    def size(self):
        return os.path.getsize(self.path) if self.path.exists() else 0

    def contains(self, needle):
        """Whether a packet holds these bytes in one piece."""
        return needle in self.path.read_bytes()

    def wait_contains(self, needle, seconds=5):
        wait_for(lambda: self.contains(needle), seconds, f"{needle!r} on {self.interface} of {self.host}")

    def packets(self):
        """Number of packets caught so far."""
        done = self.net.attempt(self.host, "tcpdump", "-nn", "-r", self.path)
        return len([line for line in done.stdout.splitlines() if line])
