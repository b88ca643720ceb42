#!/usr/bin/env python3
"""An HTTP download at an even pace: paced_download.py HOST PORT PATH RATE PATIENCE FILE; prints JSON at its end.

RATE is in octets a second; nothing for PATIENCE seconds, or an end too early, is a failure (exit 1). The receive buffer is
small, so that the sender goes at that pace, too.
"""
import json
import socket
import sys
import time

PIECE = 16384


def main():
    host, port, path, rate, patience, target = sys.argv[1:7]
    rate, patience = float(rate), float(patience)
    result = {"bytes": 0, "longest_wait_ms": 0.0, "error": ""}
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as s, open(target, "wb", buffering=0) as out:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 * PIECE)
            s.settimeout(patience)
            s.connect((host, int(port)))
            s.sendall(f"GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
            head = b""
            while b"\r\n\r\n" not in head:
                head += s.recv(1)
            fields = head.decode().lower().split("\r\n")
            if " 200 " not in fields[0]:
                raise OSError(fields[0])
            length = next(int(f.split(":")[1]) for f in fields if f.startswith("content-length"))
            start = time.monotonic()
            while result["bytes"] < length:
                ahead = result["bytes"] / rate - (time.monotonic() - start)
                if ahead > 0:
                    time.sleep(ahead)  # the pace; lint: polling pause
                asked = time.monotonic()
                piece = s.recv(PIECE)
                result["longest_wait_ms"] = max(result["longest_wait_ms"], 1000 * (time.monotonic() - asked))
                if not piece:
                    raise OSError(f"ended after {result['bytes']} of {length} octets")
                out.write(piece)
                result["bytes"] += len(piece)
    except OSError as error:
        result["error"] = f"{type(error).__name__}: {error}"
    print(json.dumps(result))
    return 1 if result["error"] else 0


if __name__ == "__main__":
    sys.exit(main())
