"""Control messages as nobody may send them (docs/protocol.md 3 and 6), from a stranger with a good certificate.

    agent1 (ztna-stranger) -- nata -- inet -- intermediate (only it is up)
"""
import re

import pytest
from ztna_net.metrics import increases, matching, total
from ztna_net.processes import wait_for
from ztna_net.stranger import approach, hello, message, messages, register_agent, string8
from ztna_net.system import System
from ztna_net.topology import Network

PROTOCOL_VIOLATION, UNSUPPORTED_VERSION = 1, 2
ACK, NACK, ROUTE_CLOSED = 0x12, 0x13, 0x32
NO_SUCH_SERVICE, NOT_PERMITTED = 2, 3
TUNNEL = bytes(range(16))


@pytest.fixture(scope="module")
def lonely():
    with Network() as net:
        system = System(net, services=("web",))
        system.intermediate.start().wait_ready()
        yield system


def send(system, *octets, **more):
    return approach(system.net, "agent1", system.net.work / "pki/agent-agent1", *octets, **more)


def route_request(service, connector=""):
    return message(0x30, TUNNEL + string8(service) + string8(connector))


# row -> octets after which the connection is closed with protocol_violation
CLOSED = {
    "registration before Hello": register_agent("web"),
    "extension before Hello is skipped, not taken for it": message(0x90, b"x") + register_agent("web"),
    "second Hello": hello() + hello(),
    "unknown critical type": hello() + message(0x7E, b""),
    "type 0": hello() + message(0x00, b""),
    "RegistrationAck, which only the Intermediate sends": hello() + message(ACK, bytes([0]) + string8("web") + bytes([0])),
    "OpenService, which belongs into tunnels": hello() + message(0x40, b"\0\1" + string8("web")),
    "body over 16,384 octets": hello() + message(0x10, bytes(16_385)),
    "length of 2^62 - 1": hello() + b"\x10" + b"\xff" * 8,
    "service id longer than the body": hello() + message(0x10, bytes([200]) + b"web"),
    "body without service id": hello() + message(0x10, b""),
    "octets left over": hello() + message(0x10, string8("web") + b"!"),
    "service id that is no UTF-8": hello() + message(0x10, string8(b"w\xc3b")),
    "three pinned addresses": hello() + message(0x11, string8("web") + bytes([0, 3]) + b"\4\12\0\0\1" * 3),
    "pinned address of family 5": hello() + message(0x11, string8("web") + bytes([0, 1]) + b"\5\12\0\0\1"),
    "RouteRequest with half a tunnel id": hello() + message(0x30, TUNNEL[:8]),
    "RouteRequest without the Connector's name": hello() + message(0x30, TUNNEL + string8("web")),
    "RouteClosed with an unknown reason": hello() + message(0x32, TUNNEL + bytes([99])),
}

# The same, when the stream ends there.
CUT = {
    "nothing at all": b"",
    "half a Hello": hello()[:7],
    "type alone": hello() + b"\x10",
    "half a length": hello() + b"\x10\x40",
    "half a body": hello() + register_agent("web")[:-2],
    "length that points past the end": hello() + b"\x10\x20" + string8("web"),
}


def closed_as_violation(system, *octets, flags=()):
    before, log_before = system.intermediate.metrics(), system.intermediate.log()
    done = send(system, *octets, flags=flags)
    assert done["established"] and done["closed"], done
    assert done["closed"]["application"] and done["closed"]["code"] == PROTOCOL_VIOLATION and done["closed"]["text"], done
    wait_for(lambda: matching(increases(before, system.intermediate.metrics()), "connections_ended.*protocol_violation"), 3,
             "a counted violation")
    assert re.search("control connection ended.*" + re.escape(done["closed"]["text"]),
                     system.intermediate.log()[len(log_before):])
    assert total(system.intermediate.metrics(), "ztna_registrations_total") == total(before, "ztna_registrations_total")


@pytest.mark.parametrize("row", CLOSED)
def test_protocol_violation(lonely, row):
    closed_as_violation(lonely, CLOSED[row])


@pytest.mark.parametrize("row", CUT)
def test_stream_that_ends_too_early(lonely, row):
    closed_as_violation(lonely, CUT[row], flags=("--finish",))


def test_another_version(lonely):
    before = lonely.intermediate.metrics()
    done = send(lonely, hello(version=2) + register_agent("web"))
    assert done["closed"]["application"] and done["closed"]["code"] == UNSUPPORTED_VERSION and done["closed"]["text"], done
    wait_for(lambda: matching(increases(before, lonely.intermediate.metrics()), "connections_ended.*unsupported_version"), 3,
             "a counted refusal")


def test_silence_after_the_handshake(lonely):
    """Without a Hello the connection is closed after 5 s: nobody holds one for nothing."""
    done = send(lonely, seconds=9)
    assert done["closed"]["code"] == PROTOCOL_VIOLATION and "Hello" in done["closed"]["text"], done


def test_another_alpn(lonely):
    before = lonely.intermediate.metrics()
    done = send(lonely, hello(), flags=("--alpn", "ztna-tunnel-v1"))
    assert not done["established"] and done["closed"] and done["closed"]["by_peer"], done
    wait_for(lambda: matching(increases(before, lonely.intermediate.metrics()), "connections_ended.*handshake_failed"), 3,
             "a counted refusal")


@pytest.mark.parametrize("service,why", [("", NO_SUCH_SERVICE), ("-web", NO_SUCH_SERVICE), ("a" * 201, NO_SUCH_SERVICE),
                                         ("web", NO_SUCH_SERVICE), ("payroll", NOT_PERMITTED)],
                         ids=["empty", "bad character", "201 octets", "nobody offers it", "not in the certificate"])
def test_route_that_cannot_be_served(lonely, service, why):
    before = lonely.intermediate.metrics()
    done = send(lonely, hello() + route_request(service), seconds=0.7)
    assert done["closed"] is None and (ROUTE_CLOSED, TUNNEL + bytes([why])) in messages(done), done
    assert matching(increases(before, lonely.intermediate.metrics()), "requests_refused")


def test_unknown_extension_is_skipped_and_counted(lonely):
    before = lonely.intermediate.metrics()
    done = send(lonely, hello() + message(0xEE, b"of the future") + register_agent("web"), seconds=0.7)
    assert done["closed"] is None and any(kind == ACK for kind, _ in messages(done)), done
    assert total(increases(before, lonely.intermediate.metrics()), "ztna_skipped_messages_total") == 1
