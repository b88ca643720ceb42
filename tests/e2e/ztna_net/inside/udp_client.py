#!/usr/bin/env python3
"""UDP checks against an echo; each mode prints one JSON object.

    udp_client.py sizes HOST PORT SIZE...            one datagram of each size in each of four patterns, echoed equal?
    udp_client.py flows HOST PORT FLOWS PACKETS      FLOWS sockets at once, PACKETS each, every reply on its own socket?
    udp_client.py tagged HOST PORT TAG FIRST COUNT N N datagrams over COUNT sockets bound to ports FIRST.., all tagged
    udp_client.py steady HOST PORT PPS SECONDS       an even stream; how many are lost, the longest gap
    udp_client.py once HOST PORT TEXT TIMEOUT        one datagram; what came back within TIMEOUT
"""
import json
import random
import selectors
import socket
import sys
import time

PATTERNS = {
    "zeros": lambda n: bytes(n),
    "ones": lambda n: b"\xff" * n,
    "counting": lambda n: (bytes(range(256)) * (n // 256 + 1))[:n],
    "random": lambda n: random.Random(n).randbytes(n),
}


def connected(host, port, source_port=None):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    s = socket.socket(family, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    if source_port:
        s.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", source_port))
    s.connect((host, port))
    return s


def sizes(host, port, *wanted):
    results = []
    with connected(host, int(port)) as s:
        s.settimeout(3)
        for size in map(int, wanted):
            for name, make in PATTERNS.items():
                sent, got = make(size), None
                start = time.monotonic()
                try:
                    s.send(sent)
                    got = s.recv(65535)
                except (TimeoutError, OSError) as error:
                    results.append({"size": size, "pattern": name, "ok": False, "error": str(error)})
                    continue
                results.append({"size": size, "pattern": name, "ok": got == sent, "got": len(got),
                                "ms": (time.monotonic() - start) * 1000})
    return {"results": results, "bad": [r for r in results if not r["ok"]]}


def flows(host, port, count, packets):
    """One packet of every socket is under way at a time; what is not back in 3 s counts as lost."""
    count, packets = int(count), int(packets)
    selector = selectors.DefaultSelector()
    sockets = []
    for i in range(count):
        s = connected(host, int(port))
        s.setblocking(False)
        selector.register(s, selectors.EVENT_READ, i)
        sockets.append(s)
    received = crossed = 0
    for p in range(packets):
        want = {i: b"flow %d packet %d" % (i, p) for i in range(count)}
        waiting = set(want)
        for at in range(0, count, 50):
            for i in range(at, min(at + 50, count)):
                sockets[i].send(want[i])
            for key, _ in selector.select(0.002):
                received, crossed = take(key, want, waiting, received, crossed)
        end = time.monotonic() + 3
        while waiting and time.monotonic() < end:
            for key, _ in selector.select(0.1):
                received, crossed = take(key, want, waiting, received, crossed)
    return {"sent": count * packets, "received": received, "crossed": crossed}


def take(key, want, waiting, received, crossed):
    try:
        data = key.fileobj.recv(65535)
    except OSError:
        return received, crossed
    if data != want[key.data]:
        return received, crossed + 1
    waiting.discard(key.data)
    return received + 1, crossed


def tagged(host, port, tag, first, count, total):
    """At most 64 under way; counts what comes back with another tag or on another socket."""
    first, count, total = int(first), int(count), int(total)
    selector = selectors.DefaultSelector()
    sockets = [connected(host, int(port), first + i) for i in range(count)]
    for i, s in enumerate(sockets):
        s.setblocking(False)
        selector.register(s, selectors.EVENT_READ, i)
    sent = received = crossed = 0
    progress = time.monotonic()
    while received + crossed < total and time.monotonic() - progress < 3:
        while sent < total and sent - received < 64:
            i = sent % count
            sockets[i].send(f"{tag} {i} {sent}".encode())
            sent += 1
        for key, _ in selector.select(0.1):
            try:
                data = key.fileobj.recv(65535)
            except OSError:
                continue
            progress = time.monotonic()
            if data.startswith(f"{tag} {key.data} ".encode()):
                received += 1
            else:
                crossed += 1
    return {"sent": sent, "received": received, "crossed": crossed}


def steady(host, port, pps, seconds):
    gap, total = 1 / float(pps), int(float(pps) * float(seconds))
    got, last, longest = set(), time.monotonic(), 0.0
    with connected(host, int(port)) as s:
        start = time.monotonic()
        for i in range(total + 1):
            due = start + i * gap + (2.0 if i == total else 0.0)  # stragglers
            while (left := due - time.monotonic()) > 0:
                s.settimeout(left)
                try:
                    data = s.recv(65535)
                except (TimeoutError, OSError):
                    continue
                now = time.monotonic()
                longest, last = max(longest, now - last), now
                got.add(int(data))
            if i < total:
                try:
                    s.send(str(i).encode())
                except OSError:
                    pass  # counts as lost
    return {"sent": total, "received": len(got), "lost": total - len(got), "longest_gap_s": longest}


def once(host, port, text, timeout):
    try:
        with connected(host, int(port)) as s:  # fails, too, while an Agent that starts has no route yet
            s.settimeout(float(timeout))
            s.send(text.encode())
            return {"reply": s.recv(65535).decode(errors="replace")}
    except TimeoutError:
        return {"reply": None, "error": "timeout"}
    except OSError as error:
        return {"reply": None, "error": type(error).__name__, "errno": error.errno}


MODES = {"sizes": sizes, "flows": flows, "tagged": tagged, "steady": steady, "once": once}

if __name__ == "__main__":
    print(json.dumps(MODES[sys.argv[1]](*sys.argv[2:])))
