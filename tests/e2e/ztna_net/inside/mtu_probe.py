#!/usr/bin/env python3
"""One UDP datagram that must not be fragmented: mtu_probe.py HOST PORT SIZE...; prints one JSON object for each in a list.

    {"size": 1400, "reply": 1400}                            it came back
    {"size": 4000, "mtu": 1400, "origin": "icmp", "type": 3, "code": 4, "from": "10.100.0.12"}
    {"size": 9000, "mtu": 9000, "origin": "local"}           the kernel did not take it
"""
import errno
import ipaddress
import json
import select
import socket
import struct
import sys

IP_MTU_DISCOVER, IP_RECVERR, IPV6_MTU_DISCOVER, IPV6_RECVERR, PMTUDISC_DO = 10, 11, 23, 25, 2
EXTENDED_ERROR = struct.Struct("=IBBBBII")
ORIGINS = {1: "local", 2: "icmp", 3: "icmp"}


def told(s):
    """The first error in the socket's queue; None: there is none."""
    try:
        _, ancillary, _, _ = s.recvmsg(65536, 1024, socket.MSG_ERRQUEUE)
    except BlockingIOError:
        return None
    for _, _, data in ancillary:
        number, origin, kind, code, _, info, _ = EXTENDED_ERROR.unpack_from(data)
        result = {"errno": errno.errorcode[number], "origin": ORIGINS.get(origin, origin), "mtu": info}
        if origin in (2, 3):
            offender = data[EXTENDED_ERROR.size:]
            at, size = (4, 4) if origin == 2 else (8, 16)
            result.update({"type": kind, "code": code, "from": str(ipaddress.ip_address(offender[at:at + size]))})
        return result
    return None


def probe(host, port, size):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as s:
        if family == socket.AF_INET6:
            s.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, PMTUDISC_DO)
            s.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVERR, 1)
        else:
            s.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, PMTUDISC_DO)
            s.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        s.connect((host, port))
        s.setblocking(False)
        try:
            s.send(bytes(size))
        except OSError as error:
            if error.errno != errno.EMSGSIZE:
                raise
        waiting = select.poll()
        waiting.register(s, select.POLLIN)
        if not waiting.poll(4000):
            return {"size": size, "reply": None}
        error = told(s)
        return {"size": size, **error} if error else {"size": size, "reply": len(s.recv(65536))}


print(json.dumps([probe(sys.argv[1], int(sys.argv[2]), int(size)) for size in sys.argv[3:]]))
