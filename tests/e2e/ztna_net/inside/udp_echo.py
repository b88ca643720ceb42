#!/usr/bin/env python3
"""UDP echo on IPv4 and IPv6: udp_echo.py PORT [--other ADDRESS].

Every datagram of up to 65,507 bytes comes back as it is. With --other, one that begins with b"OTHER" is answered twice
from ADDRESS (same port), never from the address it was sent to.
"""
import argparse
import selectors
import socket

SO_RCVBUFFORCE, SO_SNDBUFFORCE = 33, 32


def udp_socket(family, address, port):
    s = socket.socket(family, socket.SOCK_DGRAM)
    if family == socket.AF_INET6:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    for option in (SO_RCVBUFFORCE, SO_SNDBUFFORCE):
        try:
            s.setsockopt(socket.SOL_SOCKET, option, 16 << 20)
        except OSError:
            pass  # without the privilege the default has to do
    s.bind((address, port))
    return s


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("--address4", default="0.0.0.0")
    parser.add_argument("--other")
    args = parser.parse_args()
    # Bound to one address where a second one answers from the same port.
    sockets = [udp_socket(socket.AF_INET, args.address4, args.port), udp_socket(socket.AF_INET6, "::", args.port)]
    other = udp_socket(socket.AF_INET, args.other, args.port) if args.other else None
    selector = selectors.DefaultSelector()
    for s in sockets:
        s.setblocking(False)
        selector.register(s, selectors.EVENT_READ)
    print("ready", flush=True)
    while True:
        for key, _ in selector.select():
            s = key.fileobj
            for _ in range(256):
                try:
                    data, peer = s.recvfrom(65535)
                except BlockingIOError:
                    break
                except OSError:
                    continue  # an ICMP error for an earlier reply
                try:
                    if other and data.startswith(b"OTHER"):
                        other.sendto(data, peer)
                        other.sendto(data, peer)
                    else:
                        s.sendto(data, peer)
                except OSError as error:
                    print(f"send to {peer}: {error}", flush=True)


if __name__ == "__main__":
    main()
