"""One TCP connection that a test holds open while things change."""
import socket

from .backends import ECHO
from .configs import virtual4


class IdleConnection:
    """A user's TCP connection to the echo of the service `lab`, and what comes back on it."""

    def __init__(self, net, address=None):
        self.socket = net.socket("agent1", socket.SOCK_STREAM)
        self.socket.settimeout(5)
        self.socket.connect((address or virtual4("lab"), ECHO))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def says(self, text, within=5):
        self.socket.settimeout(within)
        self.socket.sendall(text)
        return self.hears(len(text), within)

    def hears(self, size, within):
        self.socket.settimeout(within)
        got = b""
        while len(got) < size:
            piece = self.socket.recv(size - len(got))
            assert piece, f"closed after {got!r}"
            got += piece
        return got
