"""tcpdump on a link, and what is in the packets."""
import socket
import struct

from .processes import wait_for


class Capture:
    """`with Capture(net, "backend", "eth0") as c: ...` then c.contains(b"text"). Packets are whole (snaplen 0)."""

    def __init__(self, net, host, interface, expression=""):
        self.net, self.path = net, net.work / f"{host}-{interface}-{id(self):x}.pcap"
        self.log = net.work / f"tcpdump-{host}-{interface}-{id(self):x}.log"
        self.host, self.interface, self.expression = host, interface, expression

    def __enter__(self):
        self.process = self.net.spawn(self.host, "tcpdump", "-i", self.interface, "--immediate-mode", "-U", "-s", "0",
                                      "-B", "8192", "-Z", "root", "-w", self.path, *self.expression.split(), log=self.log)
        self.process.wait_log("listening on", 10)
        return self

    def __exit__(self, *_):
        if self.process.running():
            self.process.stop()

    def contains(self, needle):
        """Whether a packet holds these bytes in one piece."""
        return needle in self.path.read_bytes()

    def wait_contains(self, needle, seconds=5):
        wait_for(lambda: self.contains(needle), seconds, f"{needle!r} on {self.interface} of {self.host}")

    def rows(self, *expression):
        """One line of tcpdump's for each packet caught so far that the expression fits."""
        done = self.net.attempt(self.host, "tcpdump", "-nn", "-r", self.path, *expression)
        return [line for line in done.stdout.splitlines() if line]

    def packets(self):
        """Number of packets caught so far."""
        return len(self.rows())

    def udp_packets(self):
        """Every UDP datagram over IPv4 that was caught so far, fragments left out: (seconds since 1970, (source, port),
        (destination, port), payload)."""
        data, found = self.path.read_bytes(), []
        if len(data) < 24:
            return found
        # Ethernet, or raw IP on a TUN device.
        at, skip = 24, 14 if struct.unpack_from("<I", data, 20)[0] == 1 else 0
        while at + 16 <= len(data):
            second, microsecond, length = struct.unpack_from("<III", data, at)
            frame, at = data[at + 16:at + 16 + length], at + 16 + length
            packet = frame[skip:]
            if skip and frame[12:14] != b"\x08\x00" or len(packet) < 28 or packet[0] >> 4 != 4 or packet[9] != 17:
                continue
            header = 4 * (packet[0] & 15)
            source_port, port, size = struct.unpack_from("!HHH", packet, header)
            source, destination = socket.inet_ntoa(packet[12:16]), socket.inet_ntoa(packet[16:20])
            found.append((second + microsecond / 1e6, (source, source_port), (destination, port),
                          packet[header + 8:header + size]))
        return found

    def udp_payloads(self):
        """The payloads of udp_packets()."""
        return [payload for *_, payload in self.udp_packets()]
