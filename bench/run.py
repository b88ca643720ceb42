#!/usr/bin/env python3
"""Side-by-side tunnel bench. Needs root; see README.md. `./dev bench ARGUMENTS` installs and builds what it needs.

    ./run.py                                   everything, three rounds
    ./run.py --drivers raw,nebula --rounds 1   a quick look
    ./run.py --phases wan                      only start-up, latency, failover with delay

Every round measures every driver once, so slow drift of the machine hits all
of them alike, and a ratio compares with the raw baseline of the same round.
"""
import argparse
import contextlib
import datetime
import fcntl
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import topology  # noqa: E402
from topology import Network, WAN_LEGS_MS, sh  # noqa: E402

PORT = "7000"
TICK = os.sysconf("SC_CLK_TCK")
DEFAULT_DRIVERS = "raw,raw-wire,ztna,ztna-relay,nebula,nebula-relay,wireguard-go,openvpn"
FAILOVER_LIMIT_S = {True: 45, False: 20}  # with a relay, without


@contextlib.contextmanager
def machine_to_ourselves():
    """The same lock `flock LOCKFILE command` takes; held for one measurement at a time."""
    path = os.environ.get("BENCH_LOCK", os.path.join(tempfile.gettempdir(), "bench.lock"))
    with open(path, "a") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        yield


# -- reading /proc -----------------------------------------------------------

def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK  # utime + stime


def machine_cpu():
    """(busy seconds, seconds stolen by the hypervisor) since boot."""
    with open("/proc/stat") as f:
        v = [int(x) / TICK for x in f.readline().split()[1:]]
    return v[0] + v[1] + v[2] + v[5] + v[6], v[7]


def memory_mb(pid):
    with open(f"/proc/{pid}/status") as f:
        kb = {k: v.split()[0] for k, v in (line.split(":", 1) for line in f) if k in ("VmRSS", "VmHWM")}
    return {"rss_mb": int(kb["VmRSS"]) / 1024, "peak_mb": int(kb["VmHWM"]) / 1024}


# -- single measurements -----------------------------------------------------

class Bench:
    def __init__(self, net, build_dir, seconds):
        self.net, self.seconds = net, seconds
        self.pkt_binary = os.path.join(build_dir, "pkt")
        self.servers = [net.spawn("backend", "iperf3", "-s"), net.spawn("backend", self.pkt_binary, "serve", PORT)]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for p in self.servers:
            topology.stop(p)

    def pkt_command(self, mode, backend, *args):
        return self.net.inside("agent", self.pkt_binary, mode, backend, PORT, *map(str, args))

    def pkt(self, mode, backend, *args):
        return json.loads(sh(*self.pkt_command(mode, backend, *args)))

    def ready(self, d):
        r = self.pkt("first", d.backend, 20)
        if r["reply_ns"] is None:
            raise RuntimeError("no reply through the tunnel within 20 s")

    def path_share(self, before):
        """Which way the bytes went since before = net.path_bytes()."""
        direct, relayed = (b - a for a, b in zip(before, self.net.path_bytes()))
        if direct + relayed == 0:
            return "none"
        share = direct / (direct + relayed)
        return "direct" if share > 0.9 else "relay" if share < 0.1 else f"mixed ({share:.0%} direct)"

    def first_byte(self, d):
        """Agent start to first echo. Leaves the agent running. None for the baseline."""
        with machine_to_ourselves():
            probe = subprocess.Popen(self.pkt_command("first", d.backend, 30), stdout=subprocess.PIPE, text=True)
            time.sleep(0.1)
            start = time.monotonic_ns()
            d.up_agent()
            reply = json.loads(probe.communicate()[0])["reply_ns"]
        if reply is None:
            raise RuntimeError("no reply through the tunnel within 30 s of starting the agent")
        return (reply - start) / 1e6 if reply > start else None

    def tcp(self, d, streams, reverse):
        command = self.net.inside("agent", "iperf3", "-c", d.backend, "-t", str(self.seconds), "-P", str(streams),
                                  "-J", *(["-R"] if reverse else []))
        with machine_to_ourselves():
            path, (busy, stolen) = self.net.path_bytes(), machine_cpu()
            cpu = {r: cpu_seconds(p.pid) for r, p in d.processes.items()}
            report = json.loads(sh(*command))
            cpu = {r: cpu_seconds(p.pid) - cpu[r] for r, p in d.processes.items()}
            busy, stolen = (b - a for a, b in zip((busy, stolen), machine_cpu()))
        got = report["end"]["sum_received"]
        gb = got["bytes"] / 1e9
        return {"mbit_s": got["bits_per_second"] / 1e6, "daemon_cpu_s_per_gb": sum(cpu.values()) / gb,
                "daemon_cpu_s_per_gb_by_role": {r: c / gb for r, c in cpu.items()},
                "machine_cpu_s_per_gb": busy / gb, "stolen_s": stolen, "path": self.path_share(path),
                "retransmits": report["end"]["sum_sent"].get("retransmits")}

    def udp_max(self, d, size):
        """Highest rate of size-byte payloads with under 0.1 % loss: double, then bisect."""
        trials = []

        def passes(rate):
            for _ in range(2):  # one bad second is forgiven
                r = self.pkt("blast", d.backend, int(rate), size, 1)
                achieved = r["sent"] / r["seconds"]
                loss = 1 - r["received"] / max(1, r["sent"])
                trials.append({"asked_pps": int(rate), "sent_pps": achieved, "loss": loss})
                if r["answered"] and loss < 0.001:
                    return achieved
            return 0

        with machine_to_ourselves():
            best, low, high = 0.0, 0, 4000
            generator_limited = False
            while not generator_limited:
                got = passes(high)
                if not got:
                    break
                best, low = max(best, got), high
                generator_limited = got < 0.9 * high
                high *= 2
            for _ in range(0 if generator_limited else 5):
                middle = (low + high) / 2
                got = passes(middle)
                if got:
                    best, low = max(best, got), middle
                else:
                    high = middle
        return {"pps": best, "mbit_s": best * size * 8 / 1e6, "generator_limited": generator_limited, "trials": trials}

    def latency(self, d):
        with machine_to_ourselves():
            return self.pkt("ping", d.backend, 200, 5, 64)

    def memory(self, d):
        return {role: memory_mb(p.pid) for role, p in d.processes.items()}

    def failover(self, d):
        """100 packets/s; the direct path dies after 3 s."""
        limit = FAILOVER_LIMIT_S[d.has_relay]
        with machine_to_ourselves():
            path = self.net.path_bytes()
            stream = subprocess.Popen(self.pkt_command("stream", d.backend, 100, 3 + limit),
                                      stdout=subprocess.PIPE, text=True)
            time.sleep(3)
            before = self.path_share(path)
            self.net.block_direct(True)
            blocked = time.monotonic_ns()  # after, so that no packet slips past and looks like recovery
            packets = json.loads(stream.communicate()[0])["packets"]
        after = [p for p in packets if p[0] > blocked]
        replies = [got for _, got in after if got]
        lost = [sent for sent, got in packets if not got]
        return {"path_before": before, "limit_s": limit, "lost": len(lost), "sent_after_block": len(after),
                "recovered_s": (min(replies) - blocked) / 1e9 if replies else None}


# -- phases --------------------------------------------------------------------

def load_driver(name, folders):
    path = next((p for f in folders if os.path.exists(p := os.path.join(f, name + ".py"))), None)
    if path is None:
        sys.exit(f"no driver {name}.py in {', '.join(folders)}")
    spec = importlib.util.spec_from_file_location("driver_" + name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Driver


def measure_flat(b, d, m):
    """No added delay: what the machine can push."""
    for _ in range(3):
        m.setdefault("first_byte_ms", []).append(b.first_byte(d))
        d.down_agent()
    d.up_agent()
    b.ready(d)
    time.sleep(1)
    m["latency"] = b.latency(d)
    for streams in (1, 4):
        for reverse in (False, True):
            m[f"tcp_{streams}_{'down' if reverse else 'up'}"] = b.tcp(d, streams, reverse)
    m["udp_64"] = b.udp_max(d, 64)
    m["udp_1200"] = b.udp_max(d, 1200)
    m["memory"] = b.memory(d)


def measure_wan(b, d, m):
    """20 ms to the relay from either side, 15 ms direct."""
    for _ in range(3):
        m.setdefault("first_byte_ms", []).append(b.first_byte(d))
        d.down_agent()
    d.up_agent()
    b.ready(d)
    time.sleep(2)
    path = b.net.path_bytes()
    m["latency"] = b.latency(d)
    m["path"] = b.path_share(path)


def measure_failover(b, d, m):
    d.up_agent()
    b.ready(d)
    time.sleep(2)
    m["failover"] = b.failover(d)


def measure_nat(b, d, m):
    m["first_byte_ms"] = [b.first_byte(d)]
    time.sleep(3)
    path = b.net.path_bytes()
    m["latency"] = b.latency(d)
    m["path"] = b.path_share(path)


def one_driver(results, phase, rounds_label, b, d, measure, block):
    measures = {}
    entry = {"phase": phase, "round": rounds_label, "driver": d.name, "measures": measures}
    print(f"{datetime.datetime.now():%H:%M:%S} {phase} round {rounds_label} {d.name}", flush=True)
    try:
        b.net.block_direct(block)
        d.up_servers()
        measure(b, d, measures)
        entry["path_said"] = d.path_said()
    except Exception as e:  # one product failing must not end the comparison
        entry["error"] = f"{type(e).__name__}: {e}"
        entry["logs"] = {r: d.log(r)[-1500:] for r in ("agent", "connector", "relay")}
        print("   ", entry["error"], flush=True)
    finally:
        d.down_agent()
        d.down_servers()
        b.net.block_direct(False)
    results.append(entry)


def run_phase(results, args, phase, build, work, names, measure, rounds, label=None, block=None, **net_options):
    with Network(build, **net_options) as net, Bench(net, build, args.seconds) as b:
        drivers = [args.classes[n](net, tempfile.mkdtemp(prefix=n + "-", dir=work)) for n in names]
        for d in drivers:
            d.prepare()
        for r in range(rounds):
            for d in drivers:
                one_driver(results, phase, label or r, b, d, measure, d.block_direct if block is None else block)


# -- report --------------------------------------------------------------------

def spread(values):
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "n": len(values)}


ROWS = [  # (phase, key, title, digits, how to read it from the measures, compare with raw)
    *[("flat", f"tcp_{s}_{w}", f"TCP {s} stream{'s' * (s > 1)} {'agent->backend' if w == 'up' else 'backend->agent'}, Mbit/s",
       0, lambda m, k=f"tcp_{s}_{w}": m[k]["mbit_s"], "ratio") for s in (1, 4) for w in ("up", "down")],
    *[("flat", f"cpu_{s}_{w}", f"daemon CPU s/GB, TCP {s} {w}", 2,
       lambda m, k=f"tcp_{s}_{w}": m[k]["daemon_cpu_s_per_gb"], None) for s in (1, 4) for w in ("up", "down")],
    ("flat", "cpu_relay", "of that the relay daemon, TCP 1 up", 2,
     lambda m: m["tcp_1_up"]["daemon_cpu_s_per_gb_by_role"]["relay"], None),
    ("flat", "machine_cpu", "whole-machine CPU s/GB, TCP 1 up", 2, lambda m: m["tcp_1_up"]["machine_cpu_s_per_gb"], "ratio"),
    ("flat", "udp_64", "UDP 64 B, loss-free packets/s", 0, lambda m: m["udp_64"]["pps"], "ratio"),
    ("flat", "udp_1200", "UDP 1200 B, loss-free Mbit/s", 0, lambda m: m["udp_1200"]["mbit_s"], "ratio"),
    ("flat", "rtt", "round trip median, us", 0, lambda m: m["latency"]["median_us"], "added"),
    ("flat", "rtt99", "round trip p99, us", 0, lambda m: m["latency"]["p99_us"], "added"),
    ("flat", "ttfb", "first byte after agent start, ms (no delay)", 0, lambda m: m["first_byte_ms"], None),
    *[("flat", f"rss_{r}", f"RSS of {r} daemon, MB", 1, lambda m, r=r: m["memory"][r]["rss_mb"], None)
      for r in ("agent", "connector", "relay")],
    ("wan", "ttfb", "first byte after agent start, ms (WAN delay)", 0, lambda m: m["first_byte_ms"], None),
    ("wan", "rtt", "round trip median, us (WAN delay)", 0, lambda m: m["latency"]["median_us"], "added"),
    ("wan", "rtt99", "round trip p99, us (WAN delay)", 0, lambda m: m["latency"]["p99_us"], "added"),
    ("failover", "recovered", "direct path blocked: s until replies flow", 2, lambda m: m["failover"]["recovered_s"], None),
    ("failover", "lost", "direct path blocked: echoes lost (100/s)", 0, lambda m: m["failover"]["lost"], None),
]


def summarize(results):
    table = {}
    for phase, key, title, _, read, compare in ROWS:
        values, base = {}, {}
        for e in results:
            if e["phase"] != phase:
                continue
            try:
                v = read(e["measures"])
            except (KeyError, TypeError):
                continue
            v = [x for x in (v if isinstance(v, list) else [v]) if x is not None]
            values.setdefault(e["driver"], []).append((e["round"], v))
            if e["driver"] == "raw" and v:
                base[e["round"]] = v[0]
        row = {}
        for name, rounds in values.items():
            flat = [x for _, v in rounds for x in v]
            if not flat:
                continue
            row[name] = spread(flat)
            pairs = [(v[0], base[r]) for r, v in rounds if v and base.get(r)]
            if compare == "ratio" and pairs:
                row[name]["ratio_to_raw"] = spread([a / c for a, c in pairs])
            if compare == "added" and pairs:
                row[name]["added_over_raw"] = spread([a - c for a, c in pairs])
        table[f"{phase}.{key}"] = {"title": title, "values": row}
    return table


def markdown(report):
    names = report["meta"]["drivers"]
    out = ["# Tunnel bench", "", f"{report['meta']['date']}, kernel {report['meta']['kernel']}, "
           f"{report['meta']['cpus']} CPUs ({report['meta']['processor']}). Median [min-max] over {report['meta']['rounds']} rounds; "
           "(x) = ratio to raw of the same round, (+) = added over raw.", "",
           "| measure | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
    for phase, key, title, digits, _, _ in ROWS:
        row = report["summary"][f"{phase}.{key}"]["values"]
        if not row:
            continue
        cells = []
        for n in names:
            if n not in row:
                failed = key in ("recovered",) and any(e["driver"] == n and e["phase"] == phase and "failover" in e["measures"]
                                                        for e in report["runs"])
                cells.append("never" if failed else "-")
                continue
            v = row[n]
            text = f"{v['median']:.{digits}f} [{v['min']:.{digits}f}-{v['max']:.{digits}f}]"
            if "ratio_to_raw" in v and n != "raw":
                text += f" ({v['ratio_to_raw']['median']:.3g}x)"
            if "added_over_raw" in v and n != "raw":
                text += f" ({v['added_over_raw']['median']:+.{digits}f})"
            cells.append(text)
        out.append(f"| {title} | " + " | ".join(cells) + " |")
    nat = [e for e in report["runs"] if e["phase"] == "nat"]
    if nat:
        out += ["", "## NAT combinations (agent side / connector side, WAN delay)", "",
                "| NATs | driver | path | first byte, ms | round trip median, us |", "|---|---|---|---|---|"]
        for e in nat:
            m = e["measures"]
            if "error" in e:
                out.append(f"| {e['round']} | {e['driver']} | failed: {e['error']} | - | - |")
            else:
                out.append(f"| {e['round']} | {e['driver']} | {m['path']} | {m['first_byte_ms'][0]:.0f} | "
                           f"{m['latency'].get('median_us', float('nan')):.0f} |")
    out += ["", "## Paths and errors", ""]
    for e in report["runs"]:
        m = e["measures"]
        paths = {m[k]["path"] for k in m if k.startswith("tcp_")} | ({m["path"]} if "path" in m else set())
        if "failover" in m:
            paths.add("before block: " + m["failover"]["path_before"])
        limited = [k for k in ("udp_64", "udp_1200") if k in m and m[k]["generator_limited"]]
        line = f"- {e['phase']} {e['round']} {e['driver']}: path {', '.join(sorted(paths)) or 'n/a'}"
        if e.get("path_said"):
            line += f"; at the end the product says: {e['path_said']}"
        if limited:
            line += f"; generator-limited: {', '.join(limited)}"
        out.append(line + (f"; ERROR {e['error']}" if "error" in e else ""))
    out += ["", "## Notes", ""] + [f"- {n}: {report['meta']['notes'][n]}" for n in names]
    return "\n".join(out) + "\n"


def versions():
    def first_line(*cmd):
        try:
            p = subprocess.run(cmd, capture_output=True, text=True)
            return (p.stdout or p.stderr).strip().splitlines()[0]
        except (OSError, IndexError):
            return None
    packages = {}
    for name in ("nebula", "wireguard-go", "wireguard-tools", "openvpn", "iperf3", "nftables"):
        packages[name] = first_line("dpkg-query", "-W", "-f", "${Version}", name)
    return packages


def processor():
    with open("/proc/cpuinfo") as f:
        return next((line.split(":", 1)[1].strip() for line in f if line.startswith("model name")), platform.machine())


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--drivers", default=DEFAULT_DRIVERS)
    a.add_argument("--driver-dir", action="append", default=[], help="look for drivers here too (repeatable)")
    a.add_argument("--phases", default="flat,wan,failover,nat")
    a.add_argument("--rounds", type=int, default=3)
    a.add_argument("--seconds", type=int, default=5, help="length of one TCP run")
    a.add_argument("--out", default=os.path.join(HERE, "results", "latest"), help="writes OUT.json and OUT.md")
    args = a.parse_args()
    if os.geteuid():
        sys.exit("run as root: this makes network namespaces and TUN devices")

    names, phases, results = args.drivers.split(","), args.phases.split(","), []
    folders = [*args.driver_dir, os.path.join(HERE, "drivers")]
    classes = args.classes = {n: load_driver(n, folders) for n in names}
    report = {"meta": {"date": f"{datetime.datetime.now():%Y-%m-%d %H:%M}", "kernel": platform.release(),
                       "cpus": os.cpu_count(), "rounds": args.rounds, "drivers": names, "versions": versions(),
                       "processor": processor(), "wan_one_way_ms": WAN_LEGS_MS, "notes": {n: c.note for n, c in classes.items()}},
              "runs": results}
    os.makedirs(os.path.dirname(args.out) or ".", exist_ok=True)

    def save():
        report["summary"] = summarize(results)
        with open(args.out + ".json", "w") as f:
            json.dump(report, f, indent=1)
        with open(args.out + ".md", "w") as f:
            f.write(markdown(report))

    with tempfile.TemporaryDirectory(prefix="zb-bench-") as tmp:
        for program in ("pkt", "delaylink"):
            sh("g++", "-O2", "-std=c++17", os.path.join(HERE, program + ".cpp"), "-o", os.path.join(tmp, program))
        common = dict(results=results, args=args, build=tmp, work=tmp)
        try:
            if "flat" in phases:
                run_phase(phase="flat", names=names, measure=measure_flat, rounds=args.rounds, **common)
            if "wan" in phases:
                run_phase(phase="wan", names=names, measure=measure_wan, rounds=args.rounds,
                          legs_ms=WAN_LEGS_MS, **common)
            if "failover" in phases:
                tunnels = [n for n in names if not n.startswith("raw")]
                relayed = [n for n in tunnels if classes[n].has_relay]
                for group, rounds in ((relayed, args.rounds), ([n for n in tunnels if n not in relayed], 1)):
                    if group:
                        run_phase(phase="failover", names=group, measure=measure_failover, rounds=rounds,
                                  block=False, legs_ms=WAN_LEGS_MS, **common)
            if "nat" in phases:
                crossing = [n for n in names if classes[n].nat_traversal]
                for nat_a, nat_b in (("cone", "cone"), ("symmetric", "cone"), ("cone", "symmetric"),
                                     ("symmetric", "symmetric")):
                    if crossing:
                        run_phase(phase="nat", names=crossing, measure=measure_nat, rounds=1,
                                  label=f"{nat_a}/{nat_b}", block=False, nat_a=nat_a, nat_b=nat_b,
                                  legs_ms=WAN_LEGS_MS, **common)
        finally:
            save()
    print(open(args.out + ".md").read())


if __name__ == "__main__":
    main()
