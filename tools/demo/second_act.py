"""The demo's second act: one download while the tunnel goes direct, loses the direct path and gets it back.

    ~~~~==================~~~~~~~~~~~~~~~==============      a sign for each tick: ~ relay, = direct, . no tunnel yet, ! no octet came
    1   2                 34             5 6          7      numbers: what happened, listed below with its time
"""
import time
from dataclasses import dataclass

from ztna_net.configs import virtual4
from ztna_net.failover import Download, Meter, now, seconds
from ztna_net.paths import path_of, quick_status

TICK = 0.15
RATE = 3_000_000  # octets a second
SETTLES = 0.6  # seconds until the round trip is that of the new path
LENGTH = 10  # seconds that the download takes at least
SIGNS = {"relay": "~", "direct": "=", "": "."}


@dataclass
class Event:
    at: float  # seconds since the beginning
    column: int
    text: str


class Timeline:
    """Draws while it waits, and remembers what happened when."""

    def __init__(self, agent, download):
        self.agent, self.download = agent, download
        self.start, self.received, self.ticks, self.events = time.monotonic(), 0, 0, []

    def note(self, text):
        """Something happened just now. Returns it: its text may be completed."""
        self.events.append(Event(time.monotonic() - self.start, self.ticks, text))
        return self.events[-1]

    def follow(self, condition, limit):
        """Draws until the condition holds (True) or `limit` seconds are over (False)."""
        end = time.monotonic() + limit
        while not condition():
            if time.monotonic() >= end:
                return False
            self.tick()
        return True

    def tick(self):
        next_tick = self.start + (self.ticks + 1) * TICK
        time.sleep(max(0.0, next_tick - time.monotonic()))  # the timeline's beat; lint: polling pause
        received = self.download.received()
        moved, self.received = received > self.received or not self.download.running(), received
        path = self.path()
        print(SIGNS[path] if moved or not path else "!", end="", flush=True)
        self.ticks += 1

    def path(self):
        return path_of(quick_status(self.agent))

    def legend(self):
        """The row of numbers under the drawing, and a line for each."""
        row = ""
        for number, event in enumerate(self.events, 1):
            row += " " * (event.column - len(row)) + str(number)
        lines = [f"  {number} {event.at:5.1f} s  {event.text}" for number, event in enumerate(self.events, 1)]
        return "\n".join([" " * INDENT + row, "", *lines])


INDENT = 2


def round_trip(agent):
    """In ms, of the path that the tunnel is on; None before its first sample there."""
    tunnels = (quick_status(agent) or {}).get("tunnels") or [{}]
    return tunnels[0].get("rtt_ms")


def play(net, system):
    """Runs it and returns (what has failed or "", lines for the end)."""
    agent, problems = system.agent, []
    net.block_direct(False)
    agent.process.stop()
    agent.start().wait_ready()
    with Download(net, virtual4("web"), LENGTH * RATE, RATE) as download, Meter(net, virtual4("lab"), pps=500) as meter:
        line = Timeline(agent, download)
        print(" " * INDENT, end="")
        line.note(f"a download of {LENGTH * RATE // 1_000_000} MB begins; its first packet opens the tunnel, on the relay")

        def becomes(path, limit, what):
            reached = line.follow(lambda: line.path() == path, limit)
            if not reached:
                line.note(f"still on the {line.path()} after {limit} s")
                problems.append(f"not {path} within {limit} s")
                return
            event = line.note(what)
            # For a moment acknowledgements of what was sent on the old path are samples, too.
            line.follow(lambda: False, SETTLES)
            end = now() + seconds(2)
            while (measured := round_trip(agent)) is None and now() < end:
                line.tick()
            if measured is not None:
                event.text += f", round trip {measured:.0f} ms"
        becomes("direct", 5, "the tunnel is direct: the same connection on another path")
        stretch = (now(), net.counters("packets"))
        line.follow(lambda: now() > stretch[0] + seconds(2), 3)
        direct, relayed = (net.counters("packets")[k] - stretch[1][k] for k in ("direct", "relayed"))
        cut = now()
        net.block_direct(True)
        line.note("the direct path is cut")
        becomes("relay", 3, "the tunnel is back on the relay")
        line.follow(lambda: now() > cut + seconds(2.5), 3)
        net.block_direct(False)
        back = now()
        line.note("the direct path is open again")
        becomes("direct", 12, "the tunnel is direct again")
        again = now()
        line.follow(lambda: not download.running(), LENGTH + 10)
        try:
            download.finish()
            line.note("the download is complete, its SHA-256 is right")
        except AssertionError as error:
            line.note(f"the download FAILED: {error}")
            problems.append(str(error))
        echoes = meter.echoes()
    gap, lost = echoes.gap(cut, back), len(echoes.lost(again))
    notes = [f"A UDP echo of 500 packets/s was silent for {gap.ms:.0f} ms at most when the path was cut." if gap else
             "A UDP echo got no reply any more.",
             f"In 2 s on the direct path {direct} packets went past the Intermediate and {relayed} to or from it."]
    if gap is None:
        problems.append("no echo came back")
    if lost:
        problems.append(f"{lost} echoes were lost after the return")
    print(f"\n{line.legend()}\n")
    return "; ".join(problems), notes
