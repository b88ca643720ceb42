"""A QUIC client that does what ours never do (tests/e2e/stranger), and the messages that it sends by hand."""
import ipaddress
import json
import subprocess

from .configs import PORT
from .pki import program
from .topology import INTERMEDIATE4


def string8(text):
    data = text if isinstance(text, bytes) else text.encode()
    return bytes([len(data)]) + data


def message(kind, body):
    """Type, length and body of a control message (docs/protocol.md 3)."""
    size = len(body)
    length = bytes([size]) if size < 64 else (0x4000 | size).to_bytes(2, "big") if size < 16384 else \
        (0x80000000 | size).to_bytes(4, "big")
    return bytes([kind]) + length + body


def hello(version=1):
    return message(0x3F, bytes([version]) + string8("stranger") + bytes([0]) + b"12345678")


def register_agent(service):
    return message(0x10, string8(service))


def register_connector(service):
    return message(0x11, string8(service) + bytes([0, 0]))


def candidate(address, port, kind=1, priority=1):
    """One of a CandidateOffer or CandidateAnswer."""
    packed = ipaddress.ip_address(address)
    return bytes([kind]) + priority.to_bytes(4, "big") + bytes([packed.version]) + packed.packed + port.to_bytes(2, "big")


def candidates(kind, session, tunnel, *list_, method=0):
    """CandidateOffer (0x20) or CandidateAnswer (0x21), of unknown NATs."""
    return message(kind, session + tunnel + bytes([0, 0, len(list_)]) + b"".join(list_) + bytes([method]))


def command(identity, *octets, ca=None, flags=(), when=(), address=INTERMEDIATE4, port=PORT, seconds=3):
    """when: (type, octets) to send when a message of that type comes."""
    line = [program("ztna-stranger"), "--seconds", seconds, *flags]
    for kind, reply in when:
        line += ["--when", f"{kind:02x}:{reply.hex()}"]
    if identity is not None:
        line += ["--cert", identity / "cert.pem", "--key", identity / "key.pem"]
    if ca is not None:
        line += ["--ca", ca]
    return [*line, address, port, *(o.hex() for o in octets)]


def approach(net, host, identity, *octets, **more):
    """Connects with the certificate in folder `identity` (None: without) and sends `octets`; how it was taken."""
    return json.loads(net.run(host, *command(identity, *octets, **more)))


class Visit:
    """approach() in the background; done() waits for its end."""

    def __init__(self, net, host, identity, *octets, **more):
        self.process = net.popen(host, *command(identity, *octets, **more), stdout=subprocess.PIPE, text=True)

    def done(self):
        output, _ = self.process.communicate(timeout=60)
        return json.loads(output)


def messages(done):
    """[(type, body)] of the whole messages that came back."""
    data, found = bytes.fromhex(done["received"]), []
    while len(data) >= 2:
        width = 1 << (data[1] >> 6)
        size = int.from_bytes(data[1:1 + width], "big") & ((1 << (8 * width - 2)) - 1)
        if len(data) < 1 + width + size:
            break
        found.append((data[0], data[1 + width:1 + width + size]))
        data = data[1 + width + size:]
    return found
