#!/usr/bin/env python3
"""Sends junk to a UDP port and reports whether anything came back: udp_junk.py HOST PORT HEX...; prints JSON."""
import json
import socket
import sys

host, port = sys.argv[1], int(sys.argv[2])
answers = []
with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as s:
    s.settimeout(0.3)
    for text in sys.argv[3:]:
        s.sendto(bytes.fromhex(text), (host, port))
    try:
        while True:
            answers.append(s.recvfrom(65535)[0].hex())
    except TimeoutError:
        pass
print(json.dumps({"answers": answers}))
