#!/usr/bin/env python3
"""How long a 1,000 packets/s echo is silent while paths die and programs restart: percentiles over many runs.

    sudo bench/failover.py                                    everything: 30 runs at 10, 30 and 100 ms, about two hours
    sudo bench/failover.py --events cut,intermediate --rtt 30 --runs 5

    agent1 -- nata === inet === natb -- connector -- backend     port-restricted NATs; every round trip between two ends
                        ||                                       is RTT, over the relay it is twice that
                   intermediate

Each run starts a new Agent, waits for the path that the event is about, does it once, and takes the longest time between two
replies that came one after the other (so the RTT's growth by falling back to the relay is in it, 1 ms is none). Writes
OUT.json with every single run and prints the table for docs/benchmarks.md. The network is that of tests/e2e.
"""
import argparse
import datetime
import json
import os
import pathlib
import platform
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests/e2e"))
from ztna_net.backends import Backends, ping  # noqa: E402
from ztna_net.configs import virtual4  # noqa: E402
from ztna_net.failover import Meter, event, legs_for, now, percentiles, seconds  # noqa: E402
from ztna_net.metrics import matching  # noqa: E402
from ztna_net.paths import wait_path  # noqa: E402
from ztna_net.processes import wait_for  # noqa: E402
from ztna_net.system import System  # noqa: E402
from ztna_net.topology import ADDRESS, Network  # noqa: E402

LARGE = 1240  # an echo of this size does not fit a QUIC packet of 1,200 octets


def change_address(system):
    """To the other one of two in the same network, as when a lease ends."""
    net, own = system.net, ADDRESS["agent1"][0]
    addresses = (own, own.rsplit(".", 1)[0] + ".77")
    old, new = addresses if f"{own}/" in net.run("agent1", "ip", "-4", "addr", "show", "eth0") else addresses[::-1]
    gateway = own.rsplit(".", 1)[0] + ".1"
    net.run("agent1", "bash", "-c", f"ip addr del {old}/24 dev eth0; ip addr add {new}/24 dev eth0; "
                                    f"ip route replace default via {gateway}")


# name -> (title, path that it begins on, what is done, seconds that its consequences are watched)
EVENTS = {
    "cut": ("direct path cut, both ways", "direct", lambda s: s.net.block_direct("both"), 3),
    "cut-up": ("direct path cut, Agent to Connector", "direct", lambda s: s.net.block_direct("a-to-b"), 3),
    "cut-down": ("direct path cut, Connector to Agent", "direct", lambda s: s.net.block_direct("b-to-a"), 3),
    "cut-large": ("direct path drops packets above 1,200 octets", "direct", lambda s: s.net.block_direct("large"), 3),
    "address": ("the Agent's address changes", "direct", change_address, 3),
    "rebind-agent": ("NAT of the Agent rebinds", "direct", lambda s: s.net.rebind("nata"), 3),
    "rebind-connector": ("NAT of the Connector rebinds", "direct", lambda s: s.net.rebind("natb"), 3),
    "rebind-agent-relayed": ("NAT of the Agent rebinds, relayed", "relay", lambda s: s.net.rebind("nata"), 5),
    "rebind-connector-relayed": ("NAT of the Connector rebinds, relayed", "relay", lambda s: s.net.rebind("natb"), 5),
    "intermediate-direct": ("Intermediate killed and started, direct", "direct",
                            lambda s: s.intermediate.restart_after_kill(), 4),
    "intermediate": ("Intermediate killed and started, relayed", "relay",
                     lambda s: s.intermediate.restart_after_kill(), 6),
    "connector-direct": ("Connector killed and started, direct", "direct",
                         lambda s: s.connector.restart_after_kill(), 6),
    "connector": ("Connector killed and started, relayed", "relay", lambda s: s.connector.restart_after_kill(), 6),
}


def pause(length):
    until = now() + seconds(length)
    wait_for(lambda: now() >= until, length + 1, "the clock")


def prepare(system, path):
    """A new Agent with its tunnel open on that path."""
    system.net.block_direct(path == "relay")
    for daemon in (system.intermediate, system.connector):
        daemon.wait_ready()
    if system.agent.process is not None:
        system.agent.process.kill9()
        system.net.forget("nata")
    system.agent.start().wait_ready()
    wait_for(lambda: ping(system.net, "agent1", virtual4("lab"), count=1, wait=1) is not None, 20, "the tunnel")
    wait_path(system.agent, path, 20)


def run_once(system, name):
    """One event: {"gap_ms", "lost", "duplicates", "stall_ms"}; gap_ms is None where no reply came any more."""
    _, path, action, watched = EVENTS[name]
    prepare(system, path)
    with Meter(system.net, virtual4("lab"), **({"size": LARGE} if name == "cut-large" else {})) as meter:
        pause(0.6)
        done = event(lambda: action(system))
        pause(watched)
        echoes = meter.echoes()
    recovered = any(at > done.at + seconds(0.3) for at in echoes.arrivals[-200:])
    gap = echoes.gap(done.at, done.done + seconds(watched)) if recovered else None
    return {"gap_ms": gap and gap.ms, "lost": len(echoes.lost(done.at)), "duplicates": len(echoes.duplicates()),
            "stall_ms": echoes.stall_ms(done.at)}


def seen(system):
    """What the daemons and the wire say of their search for a direct path, for a run that came to nothing."""
    out = {"crossed": system.net.counters("packets")}
    for daemon in (system.intermediate, system.connector, system.agent):
        try:
            out[daemon.kind] = matching(daemon.metrics(), "prob|punch|offer|stray|signal|birthday|claims|routes")
        except AssertionError as error:
            out[daemon.kind] = str(error)
    return out


def row(name, rtt, runs):
    good = [r["gap_ms"] for r in runs if r.get("gap_ms") is not None]
    p, lost = percentiles(good, (50, 90, 99, 100)), percentiles([r["lost"] for r in runs if "lost" in r], (50, 100))
    cells = [f"{p[k]:.0f}" if p else "-" for k in (50, 90, 99, 100)]
    return (f"| {EVENTS[name][0]} | {rtt} | {' | '.join(cells)} | {lost.get(50, '-')} / {lost.get(100, '-')} | "
            f"{len(good)} of {len(runs)} |")


def table(report):
    lines = ["| event | RTT, ms | gap p50, ms | p90 | p99 | longest | lost, median / most | recovered |", "|---|---|---|---|---|---|---|---|"]
    return "\n".join(lines + [row(g["event"], g["rtt_ms"], g["runs"]) for g in report["groups"]])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", default=",".join(EVENTS), help="of: " + ", ".join(EVENTS))
    parser.add_argument("--rtt", default="10,30,100", help="round trips in ms")
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--out", default=str(HERE / "results/failover"), help="writes OUT.json and OUT.md")
    args = parser.parse_args()
    names = args.events.split(",")
    if unknown := set(names) - set(EVENTS):
        parser.error(f"no event {', '.join(sorted(unknown))}")
    os.makedirs(os.path.dirname(args.out) or ".", exist_ok=True)
    report = {"date": f"{datetime.datetime.now():%Y-%m-%d %H:%M}", "kernel": platform.release(), "cpus": os.cpu_count(),
              "groups": []}
    for rtt in map(float, args.rtt.split(",")):
        with Network(legs_ms=legs_for(rtt), ipv6=False) as net:
            Backends(net, big=False)
            system = System(net, services=("web", "lab"))
            system.intermediate.start().wait_ready()
            system.connector.start().wait_ready()
            for name in names:
                group = {"event": name, "rtt_ms": f"{rtt:g}", "runs": []}
                report["groups"].append(group)
                for _ in range(args.runs):
                    try:
                        group["runs"].append(run_once(system, name))
                    except (AssertionError, RuntimeError) as error:
                        group["runs"].append({"error": str(error)[:2000], "seen": seen(system)})
                    pathlib.Path(args.out + ".json").write_text(json.dumps(report, indent=1))
                    pathlib.Path(args.out + ".md").write_text(table(report) + "\n")
                print(row(name, f"{rtt:g}", group["runs"]), flush=True)
            system.stop()
    print("\n" + table(report))


if __name__ == "__main__":
    main()
