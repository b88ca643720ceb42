#!/usr/bin/env python3
"""Puts hand-made IP packets on an interface: raw_packets.py INTERFACE SOURCE DESTINATION KIND [COUNT].

The family is that of the addresses. Kinds, each with the payload b"raw KIND":

    good, good_tcp, good_icmp                              UDP to port 7000, SYN to port 7104, echo request
    bad_udp_checksum, bad_tcp_checksum, bad_icmp_checksum  the same, spoilt
    bad_ip_checksum (IPv4), no_udp_checksum
    short_udp                                              UDP's length points past the end
    long_total, short_total                                total length (IPv6: payload length) past the end, before it
    truncated                                              ends within the IP header
    routing_header (IPv6)                                  with a segment left
    other_protocol, other_icmp                             SCTP; ICMP of the other family

They leave by a packet socket, past the kernel's checks.
"""
import ipaddress
import random
import socket
import struct
import sys

ETHERTYPE = {4: 0x0800, 6: 0x86DD}
ICMP = {4: 1, 6: 58}
ECHO_REQUEST = {4: 8, 6: 128}
TCP, UDP, ROUTING, SCTP = 6, 17, 43, 132
SYN = 2


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def protocol_of(kind, version):
    if kind == "other_protocol":
        return SCTP
    if kind == "other_icmp":
        return ICMP[10 - version]
    return TCP if "tcp" in kind else ICMP[version] if "icmp" in kind else UDP


def segment(source, destination, protocol, kind):
    """Transport header and payload, with the checksum that belongs to the kind."""
    version, payload = source.version, b"raw " + kind.encode()
    if protocol == TCP:
        # Another connection each time: the one before may not be forgotten yet.
        data = struct.pack("!HHIIBBHHH", random.randrange(20000, 30000), 7104, random.getrandbits(32), 0, 0x50, SYN, 65535, 0, 0)
        at = 16
    elif protocol in ICMP.values():
        data, at = struct.pack("!BBHHH", ECHO_REQUEST[version], 0, 0, 1, 1) + payload, 2
    else:
        length = 8 + len(payload) + (200 if kind == "short_udp" else 0)
        data, at = struct.pack("!HHHH", 40000, 7000, length, 0) + payload, 6
    # The same octets in IPv4's order and in IPv6's (RFC 8200 8.1), as far as the sum goes.
    pseudo = source.packed + destination.packed + struct.pack("!II", protocol, len(data))
    total = checksum((b"" if protocol == ICMP[4] else pseudo) + data) or 0xFFFF
    if kind.startswith("bad_") and kind != "bad_ip_checksum":
        total ^= 0x5555
    if kind == "no_udp_checksum":
        total = 0
    return data[:at] + struct.pack("!H", total) + data[at + 2:]


def packet(source, destination, kind):
    protocol = protocol_of(kind, source.version)
    data = segment(source, destination, protocol, kind)
    wrong = {"long_total": 100, "short_total": -4}.get(kind, 0)
    if source.version == 6:
        if kind == "routing_header":
            data, protocol = struct.pack("!BBBBI", protocol, 0, 0, 1, 0) + data, ROUTING
        header = struct.pack("!IHBB", 6 << 28, len(data) + wrong, protocol, 64) + source.packed + destination.packed
    else:
        header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(data) + wrong, 1, 0, 64, protocol, 0) + source.packed + destination.packed
        total = checksum(header) ^ (0x5555 if kind == "bad_ip_checksum" else 0)
        header = header[:10] + struct.pack("!H", total) + header[12:]
    return header[:-3] if kind == "truncated" else header + data


def main():
    interface, kind = sys.argv[1], sys.argv[4]
    source, destination = map(ipaddress.ip_address, sys.argv[2:4])
    count = int(sys.argv[5]) if len(sys.argv) > 5 else 1
    ethertype = ETHERTYPE[source.version]
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ethertype)) as s:
        for _ in range(count):
            s.sendto(packet(source, destination, kind), (interface, ethertype))
    print("{}")


if __name__ == "__main__":
    main()
