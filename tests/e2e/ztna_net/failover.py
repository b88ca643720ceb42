"""What a user notices while paths change: a UDP echo with sequence numbers and a TCP download with a checksum.

    with Meter(net, virtual4("lab")) as meter:          1,000 packets a second
        with Download(net, size, rate) as download:
            cut = event(lambda: net.block_direct(True)) its time, taken before
            ...
    echoes = meter.echoes()
    echoes.gap(cut.at, cut.at + seconds(3)).ms          longest silence
    echoes.lost(...), echoes.duplicates(...)
    download.finish()                                   raises unless every octet is right

Times are monotonic nanoseconds, the same in all namespaces.
"""
import bisect
import dataclasses
import hashlib
import json
import os
import signal
import struct
import subprocess
import time

from .built import compiled
from .backends import INSIDE, PYTHON, WEB_PORT, big_file
from .processes import wait_for

METER_PORT = 7020  # within what the service "lab" offers
RECORD = struct.Struct("=qqqq")
SECOND = 1_000_000_000
PRIORITY = ("nice", "-n", "-10")  # the meter measures the tunnel, not the machine's load


def seconds(value):
    return int(value * SECOND)


def now():
    return time.monotonic_ns()


def counted_from():
    """From when on no echo may be lost: None (the first) or now. A socket of 208 KiB holds some 90 datagrams without GRO; a download's
    slow start overflows it (the Agent's kernel counts them: ztna_agent_socket_drops_total), before anything happens to the path."""
    return now() if os.environ.get("ZTNA_E2E_SMALL_BUFFERS") == "1" else None


def legs_for(rtt_ms):
    """Delays of the public legs that make every round trip (agent, connector and Intermediate) `rtt_ms`."""
    return {"nata": rtt_ms / 4, "natb": rtt_ms / 4, "intermediate": rtt_ms / 4}


@dataclasses.dataclass(frozen=True)
class Gap:
    """A silence between two replies that came one after the other."""
    ms: float
    begin: int
    end: int


@dataclasses.dataclass(frozen=True)
class Event:
    """Something that was done to the network: when it began and when it was in force."""
    at: int
    done: int


def event(action):
    at = now()
    action()
    return Event(at, now())


class Echoes:
    """What came of every packet of a Meter."""

    def __init__(self, records, foreign=0):
        self.records, self.foreign = records, foreign  # (sent, back, at the server, copies)
        self.sent = [r[0] for r in records]
        self.arrivals = sorted(r[1] for r in records if r[1])

    def window(self, begin=None, end=None):
        """Records of the packets that were sent in between."""
        low = 0 if begin is None else bisect.bisect_left(self.sent, begin)
        high = len(self.sent) if end is None else bisect.bisect_right(self.sent, end)
        return self.records[low:high]

    def gap(self, begin=None, end=None):
        """The longest silence that overlaps [begin, end]; it may reach beyond. None without two arrivals around it."""
        times = self.arrivals
        low = 0 if begin is None else max(0, bisect.bisect_right(times, begin) - 1)
        high = len(times) if end is None else min(len(times), bisect.bisect_left(times, end) + 1)
        pairs = list(zip(times[low:high], times[low + 1:high]))
        if not pairs:
            return None
        first, last = max(pairs, key=lambda p: p[1] - p[0])
        return Gap((last - first) / 1e6, first, last)

    def lost(self, begin=None, end=None):
        """Times at which packets were sent that never came back."""
        return [r[0] for r in self.window(begin, end) if not r[3]]

    def duplicates(self, begin=None, end=None):
        return [r[0] for r in self.window(begin, end) if r[3] > 1]

    def rtt_ms(self, begin=None, end=None):
        """Median round trip."""
        times = sorted(r[1] - r[0] for r in self.window(begin, end) if r[3])
        return times[len(times) // 2] / 1e6 if times else None

    def quickest_ms(self, begin=None, end=None):
        """The shortest round trip: the way's, without what a busy machine adds."""
        return min((r[1] - r[0] for r in self.window(begin, end) if r[3]), default=0) / 1e6

    def stall_ms(self, begin=None, end=None):
        """The longest pause of the sender itself: what a gap owes to a busy machine."""
        sent = [r[0] for r in self.window(begin, end)]
        return max((b - a for a, b in zip(sent, sent[1:])), default=0) / 1e6

    def summary(self, begin=None, end=None):
        gap = self.gap(begin, end)
        return {"sent": len(self.window(begin, end)), "lost": len(self.lost(begin, end)),
                "duplicates": len(self.duplicates(begin, end)), "gap_ms": gap and round(gap.ms, 1),
                "stall_ms": round(self.stall_ms(begin, end), 1), "rtt_ms": self.rtt_ms(begin, end)}


class Meter:
    """A paced echo from `host` to `address`, which leads to `server` (by a tunnel or not)."""

    def __init__(self, net, address, host="agent1", server="backend", pps=1000, size=200, port=METER_PORT):
        self.net, self.host, self.server, self.port = net, host, server, port
        self.program, self.process = compiled("echo_meter"), None
        self.arguments = ("run", address, port, pps, size)

    def __enter__(self):
        if not self.net.listening(self.server, "udp", self.port):
            self.net.spawn(self.server, *PRIORITY, self.program, "serve", self.port,
                           log=self.net.work / f"echo-meter-{self.server}.log").wait_log("ready")
        self.path = self.net.folder("echoes")
        self.process = self.net.popen(self.host, *PRIORITY, self.program, *self.arguments, self.path, stdout=subprocess.PIPE,
                                      text=True)
        self.process.stdout.readline()
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(10)
        self.process.stdout.close()

    def echoes(self):
        """Ends it and returns what came of its packets."""
        self.process.send_signal(signal.SIGTERM)
        told = json.loads(self.process.communicate(timeout=10)[0])
        with open(self.path, "rb") as f:
            return Echoes(list(RECORD.iter_unpack(f.read())), told["foreign"])


def page_of(net, size):
    """A file of `size` octets that do not compress, below the backend's web root: (path in the URL, SHA-256)."""
    path = net.work / "www" / f"part-{size}.bin"
    with open(big_file()[0], "rb") as f:
        data = f.read(size)
    if len(data) != size:
        raise ValueError(f"{size} octets are more than the big file has")
    path.write_bytes(data)
    return path.name, hashlib.sha256(data).hexdigest()


class Download:
    """A file of `size` octets at `rate` octets a second; it breaks when nothing comes for `patience` seconds."""

    def __init__(self, net, address, size, rate, host="agent1", patience=5):
        self.net, self.size, self.rate = net, size, rate
        name, self.digest = page_of(net, size)
        self.target = net.folder("download")
        self.command = (host, PYTHON, INSIDE / "paced_download.py", address, WEB_PORT, f"/{name}", rate, patience, self.target)

    def __enter__(self):
        self.job = self.net.popen(*self.command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.started = now()
        return self

    def __exit__(self, *_):
        if self.job.poll() is None:
            self.job.kill()
            self.job.wait(10)
        self.job.stdout.close()
        if self.target.exists():
            os.unlink(self.target)

    def received(self):
        return self.target.stat().st_size if self.target.exists() else 0

    def running(self):
        return self.job.poll() is None

    def wait_progress(self, within):
        """Waits until more octets have come."""
        before = self.received()
        wait_for(lambda: self.received() > before, within, lambda: f"download beyond {before} of {self.size} octets")

    def finish(self, slack=15):
        """Waits for the end; raises unless it is whole and the checksum is right. {"seconds", "longest_wait_ms"}."""
        limit = self.size / self.rate + slack - (now() - self.started) / SECOND
        try:
            told, _ = self.job.communicate(timeout=max(limit, 0.1))
        except subprocess.TimeoutExpired:
            raise AssertionError(f"download: {self.received()} of {self.size} octets in time") from None
        assert self.job.returncode == 0, f"download broke: {told}"
        with open(self.target, "rb") as f:
            assert hashlib.sha256(f.read()).hexdigest() == self.digest, "download: wrong octets"
        return {"seconds": (now() - self.started) / SECOND, "longest_wait_ms": json.loads(told)["longest_wait_ms"]}


def percentiles(values, wanted=(50, 90, 99, 100)):
    """{percent: value}: the smallest value that so many percent of all do not exceed."""
    ordered = sorted(values)
    return {p: ordered[max(0, -(-len(ordered) * p // 100) - 1)] for p in wanted} if ordered else {}


__all__ = ["Download", "Echoes", "Event", "Gap", "Meter", "event", "legs_for", "now", "percentiles", "seconds"]
