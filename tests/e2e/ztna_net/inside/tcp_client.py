#!/usr/bin/env python3
"""TCP checks; each mode prints one JSON object with times in seconds.

    tcp_client.py connect HOST PORT TIMEOUT       what connect() said and how long it took
    tcp_client.py half_close HOST PORT BYTES      sends BYTES, then FIN, then reads the digest
    tcp_client.py until_reset HOST PORT           reads; asks for the reset; how did it end, how long after the asking
    tcp_client.py fill HOST PORT SECONDS          writes without being read; how much fits
    tcp_client.py many HOST PORT COUNT            COUNT connections one after the other, each reads until the end
"""
import errno
import hashlib
import json
import random
import socket
import sys
import time


def open_to(host, port, timeout):
    return socket.create_connection((host, int(port)), timeout=float(timeout))


def connect(host, port, timeout):
    start = time.monotonic()
    try:
        open_to(host, port, timeout).close()
        outcome = "connected"
    except TimeoutError as error:
        outcome = errno.errorcode.get(error.errno, "timeout")
    except OSError as error:
        outcome = errno.errorcode.get(error.errno, str(error))
    return {"outcome": outcome, "seconds": time.monotonic() - start}


def half_close(host, port, size):
    data = random.Random(7).randbytes(int(size))
    with open_to(host, port, 30) as s:
        s.sendall(data)
        s.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := s.recv(4096):
            answer += piece
    return {"answer": answer.decode().strip(), "expected": f"{len(data)} {hashlib.sha256(data).hexdigest()}"}


def until_reset(host, port):
    got, asked = 0, None
    with open_to(host, port, 10) as s:
        try:
            while True:
                piece = s.recv(65536)
                if not piece:
                    return {"outcome": "FIN", "bytes": got}
                got += len(piece)
                if got >= 100_000 and asked is None:
                    asked = time.monotonic()
                    s.sendall(b"!")
        except ConnectionResetError:
            return {"outcome": "RST", "bytes": got, "seconds": time.monotonic() - asked if asked else None}
        except TimeoutError:
            return {"outcome": "timeout", "bytes": got}


def fill(host, port, seconds):
    """Counts what the path takes while nobody reads at its end."""
    with open_to(host, port, 10) as s:
        s.settimeout(float(seconds))
        sent, block = 0, b"z" * 65536
        try:
            while sent < 1 << 30:
                sent += s.send(block)
        except TimeoutError:
            return {"outcome": "blocked", "bytes": sent}
        except OSError as error:
            return {"outcome": errno.errorcode.get(error.errno, str(error)), "bytes": sent}
    return {"outcome": "took all", "bytes": sent}


def many(host, port, count):
    good, errors, start = 0, [], time.monotonic()
    for _ in range(int(count)):
        try:
            with open_to(host, port, 10) as s:
                answer = b""
                while piece := s.recv(100):
                    answer += piece
            good += answer == b"bye\n"
        except OSError as error:
            errors.append(str(error))
    return {"good": good, "errors": errors[:10], "seconds": time.monotonic() - start}


MODES = {"connect": connect, "half_close": half_close, "until_reset": until_reset, "fill": fill, "many": many}

if __name__ == "__main__":
    print(json.dumps(MODES[sys.argv[1]](*sys.argv[2:])))
