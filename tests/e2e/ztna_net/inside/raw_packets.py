#!/usr/bin/env python3
"""Puts hand-made IPv4 packets on an interface: raw_packets.py INTERFACE SOURCE DESTINATION KIND [COUNT].

Kinds: good, bad_ip_checksum, bad_udp_checksum, short_udp, long_total, truncated, other_protocol. All but the last are
UDP from port 40000 to port 7000 with the payload b"raw KIND". They leave by a packet socket, past the kernel's checks.
"""
import socket
import struct
import sys

ETH_P_IP = 0x0800


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def packet(source, destination, kind):
    source, destination = socket.inet_aton(source), socket.inet_aton(destination)
    payload = b"raw " + kind.encode()
    protocol = 132 if kind == "other_protocol" else 17
    length = 8 + len(payload) + (200 if kind == "short_udp" else 0)
    udp = struct.pack("!HHHH", 40000, 7000, length, 0) + payload
    pseudo = source + destination + struct.pack("!BBH", 0, protocol, len(udp))
    total = checksum(pseudo + udp) or 0xFFFF
    if kind == "bad_udp_checksum":
        total ^= 0x5555
    udp = udp[:6] + struct.pack("!H", total) + udp[8:]
    size = 20 + len(udp) + (100 if kind == "long_total" else 0)
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, size, 1, 0, 64, protocol, 0, source, destination)
    total = checksum(header)
    if kind == "bad_ip_checksum":
        total ^= 0x5555
    whole = header[:10] + struct.pack("!H", total) + header[12:] + udp
    return whole[:17] if kind == "truncated" else whole


def main():
    interface, source, destination, kind = sys.argv[1:5]
    count = int(sys.argv[5]) if len(sys.argv) > 5 else 1
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_IP)) as s:
        for _ in range(count):
            s.sendto(packet(source, destination, kind), (interface, ETH_P_IP))
    print("{}")


if __name__ == "__main__":
    main()
