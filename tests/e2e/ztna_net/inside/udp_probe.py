#!/usr/bin/env python3
"""Sends keyless path probes (docs/protocol.md 5) from one port: udp_probe.py HOST COUNT PORT:KIND...; prints JSON.

COUNT times each. An answer is [port that it came from, octets of it, observed address, observed port, of which transaction].
"""
import ipaddress
import json
import os
import socket
import sys

host, count = sys.argv[1], int(sys.argv[2])
answers, asked = [], {}
with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as s:
    s.settimeout(0.4)
    s.bind(("", 0))
    for what in sys.argv[3:]:
        port, kind = what.split(":")
        for _ in range(count):
            transaction = os.urandom(12)
            asked[transaction] = what
            probe = b"\x1a" + bytes.fromhex(kind) + bytes(8) + transaction + b"\4" + bytes(6)
            padding = 41 - len(probe) if kind in ("11", "13") else 0
            s.sendto(probe + bytes(padding), (host, int(port)))
    try:
        while True:
            data, source = s.recvfrom(2048)
            size = 4 if data[22] == 4 else 16
            address = str(ipaddress.ip_address(data[23:23 + size]))
            answers.append([source[1], len(data), address, int.from_bytes(data[23 + size:], "big"),
                            asked.get(data[10:22]) if data[:2] == b"\x1a\x12" else None])
    except TimeoutError:
        pass
    print(json.dumps({"answers": answers, "own_port": s.getsockname()[1]}))
