"""Who is not let in. Each row: the daemon says why in its log, the Intermediate logs and counts, nothing is registered.

    agent1 -- nata -- inet -- natb -- connector
                       |
                  intermediate (only it is up)
"""
import re

import pytest
from ztna_net import configs
from ztna_net.metrics import increases, matching, total
from ztna_net.pki import EXPIRED, VALID, Pki, san
from ztna_net.processes import wait_for
from ztna_net.stranger import approach, hello, messages, register_agent, register_connector
from ztna_net.system import Daemon, System
from ztna_net.topology import Network


@pytest.fixture(scope="module")
def lonely():
    """A system of which only the Intermediate runs."""
    with Network() as net:
        system = System(net, services=("web",))
        system.intermediate.start().wait_ready()
        yield system


def intruder(system, kind):
    host, user = ("agent1", None) if kind == "agent" else ("connector", "nobody")
    daemon = Daemon(system, kind, host, f"{kind}.json", user)
    make = configs.agent if kind == "agent" else configs.connector
    daemon.configure(make(daemon.folder, ("web",)))
    return daemon


def identities(system):
    foreign = Pki(system.net.work / "foreign-pki")
    pki = system.pki
    return {
        "wrong CA, agent": ("agent", foreign.issue("agent", "stranger", ["web"])),
        "wrong CA, connector": ("connector", foreign.issue("connector", "stranger", ["web"])),
        "no ZTNA identity, agent": ("agent", pki.custom("plain-a", ["dns_name = plain.example", "tls_www_client", *VALID])),
        "no ZTNA identity, connector": ("connector", pki.custom("plain-c", ["dns_name = plain.example", "tls_www_client",
                                                                            "tls_www_server", *VALID])),
        "role only in one of the two SANs": ("agent", pki.custom("half", ["dns_name = agent.web.ztna", "tls_www_client",
                                                                          *VALID])),
        "SANs contradict each other": ("agent", pki.custom("two-faced", [
            "dns_name = agent.web.ztna", "uri = spiffe://ztna.internal/connector/two-faced", "tls_www_client", *VALID])),
        "expired, agent": ("agent", pki.custom("old-a", [*san("agent", "old-a", "web"), *EXPIRED])),
        "expired, connector": ("connector", pki.custom("old-c", [*san("connector", "old-c", "web"), *EXPIRED])),
        "wrong role, connector's as agent": ("agent", pki.issue("connector", "poser-c", ["web"])),
        "wrong role, agent's as connector": ("connector", pki.issue("agent", "poser-a", ["web"])),
        "wrong service, agent": ("agent", pki.issue("agent", "elsewhere-a", ["other"])),
        "wrong service, connector": ("connector", pki.issue("connector", "elsewhere-c", ["other"])),
        "purpose missing": ("agent", pki.custom("purposeless", [
            "dns_name = agent.web.ztna", "uri = spiffe://ztna.internal/agent/purposeless", "tls_www_server", *VALID])),
    }


# row -> what the program says; code 2 when it finds out itself, else the Intermediate's refusal in both logs.
PROGRAM_SAYS = {
    "wrong CA, agent": "unknown CA|does not chain|not issued",
    "wrong CA, connector": "unknown CA|does not chain|not issued",
    "no ZTNA identity, agent": "identity|spiffe",
    "no ZTNA identity, connector": "identity|spiffe",
    "role only in one of the two SANs": "identity|spiffe",
    "SANs contradict each other": "contradict|do not agree|disagree|role",
    "expired, agent": "expired",
    "expired, connector": "expired",
    "wrong role, connector's as agent": "agent",
    "wrong role, agent's as connector": "connector",
    "wrong service, agent": "not.permit",
    "wrong service, connector": "not.permit",
    "purpose missing": "extended key usage",
}


@pytest.fixture(scope="module")
def made(lonely):
    return identities(lonely)


@pytest.mark.parametrize("row", PROGRAM_SAYS)
def test_program_says_why(lonely, made, row):
    """Our own programs, told to use it: they never become ready, say why, and nothing is registered."""
    kind, folder = made[row]
    before, log_before = lonely.intermediate.metrics(), lonely.intermediate.log()
    daemon = intruder(lonely, kind)
    daemon.use_identity(folder)
    daemon.start()
    try:
        wait_for(lambda: re.search(PROGRAM_SAYS[row], daemon.log()), 10, lambda: f"a reason in the log:\n{daemon.log()}")
        wait_for(lambda: not daemon.process.running() or refused_there(lonely, before), 5,
                 lambda: f"exit or a counted refusal:\n{daemon.log()}")
        if daemon.process.running():
            assert not daemon.ready()
            assert re.search("refused", lonely.intermediate.log()[len(log_before):])
        else:
            assert daemon.process.wait(1) == 2
        assert registrations(lonely) == total(before, "ztna_registrations_total")
    finally:
        daemon.process.stop()


def refused_there(system, before):
    return matching(increases(before, system.intermediate.metrics()),
                    "ztna_registration_rejections_total|ztna_connections_ended_total")


def registrations(system):
    return total(system.intermediate.metrics(), "ztna_registrations_total")


ALERT = 0x100  # a TLS alert as a QUIC transport error, RFC 9001 4.8
CERTIFICATE_EXPIRED, UNKNOWN_CA, CERTIFICATE_REQUIRED = 45, 48, 116

# Strangers that do not look at their own certificate: TLS turns them away. row -> (alert or None, reason, counted as)
AT_THE_DOOR = {
    "no certificate": (CERTIFICATE_REQUIRED, "no client certificate", "handshake_failed"),
    "wrong CA, agent": (UNKNOWN_CA, "unknown CA", "handshake_failed"),
    "wrong CA, connector": (UNKNOWN_CA, "unknown CA", "handshake_failed"),
    "expired, agent": (CERTIFICATE_EXPIRED, "expired", "handshake_failed"),
    "expired, connector": (CERTIFICATE_EXPIRED, "expired", "handshake_failed"),
    "no ZTNA identity, agent": (None, "identity|spiffe", "identity_refused"),
    "no ZTNA identity, connector": (None, "identity|spiffe", "identity_refused"),
    "role only in one of the two SANs": (None, "identity|spiffe", "identity_refused"),
    "SANs contradict each other": (None, "contradict|do not agree|disagree|role", "identity_refused"),
    "purpose missing": (None, "not for client authentication", "handshake_failed"),
}


@pytest.mark.parametrize("row", AT_THE_DOOR)
def test_intermediate_turns_away(lonely, made, row):
    alert, why, counted = AT_THE_DOOR[row]
    before, log_before = lonely.intermediate.metrics(), lonely.intermediate.log()
    done = approach(lonely.net, "agent1", made[row][1] if row in made else None, hello() + register_agent("web"))
    assert done["closed"] and done["closed"]["by_peer"] and re.search(why, done["closed"]["text"]), done
    assert alert is None or done["closed"]["code"] == ALERT + alert, done
    assert done["received"] == ""
    wait_for(lambda: matching(increases(before, lonely.intermediate.metrics()), f"connections_ended.*({counted})"), 3,
             "a counted refusal")
    assert re.search(f"refused.*({why})", lonely.intermediate.log()[len(log_before):])
    assert registrations(lonely) == total(before, "ztna_registrations_total")


NACK, NOT_PERMITTED, BAD_ID, WRONG_ROLE = 0x13, 1, 2, 5

# row -> (whose certificate, message, status of the RegistrationNack, counted as)
NOT_REGISTERED = {
    "agent of another service": ("wrong service, agent", register_agent("web"), NOT_PERMITTED, "not_permitted"),
    "connector of another service": ("wrong service, connector", register_connector("web"), NOT_PERMITTED, "not_permitted"),
    "connector asks as an agent": ("wrong role, connector's as agent", register_agent("web"), WRONG_ROLE, "wrong_role"),
    "agent asks as a connector": ("wrong role, agent's as connector", register_connector("web"), WRONG_ROLE, "wrong_role"),
    "empty service id": ("wrong service, agent", register_agent(""), BAD_ID, "bad_service_id"),
    "service id of 201 octets": ("wrong service, agent", register_agent(".".join(["a" * 49] * 4) + ".x"), BAD_ID,
                                 "bad_service_id"),
    "service id in capitals": ("wrong service, connector", register_connector("WEB"), BAD_ID, "bad_service_id"),
    "service id with a path": ("wrong service, agent", register_agent("../web"), BAD_ID, "bad_service_id"),
}


@pytest.mark.parametrize("row", NOT_REGISTERED)
def test_registration_is_refused(lonely, made, row):
    whose, request, status, counted = NOT_REGISTERED[row]
    before, log_before = lonely.intermediate.metrics(), lonely.intermediate.log()
    done = approach(lonely.net, "agent1", made[whose][1], hello() + request, seconds=0.7)
    assert done["established"] and done["closed"] is None, done
    assert any(kind == NACK and body[0] == status for kind, body in messages(done)), done
    grown = increases(before, lonely.intermediate.metrics())
    assert total(grown, "ztna_registration_rejections_total") == 1 and matching(grown, f"requests_refused.*{counted}"), grown
    assert "registration refused" in lonely.intermediate.log()[len(log_before):]
    assert registrations(lonely) == total(before, "ztna_registrations_total")


def test_a_good_one_is_registered(lonely, made):
    """The same way with the right certificate: so the refusals above are about what was wrong."""
    before = registrations(lonely)
    done = approach(lonely.net, "agent1", made["wrong service, agent"][1], hello() + register_agent("other"), seconds=0.7)
    assert done["established"] and any(kind == 0x12 and body[0] == 0 for kind, body in messages(done)), done
    assert registrations(lonely) == before + 1


@pytest.mark.parametrize("kind", ["agent", "connector"])
def test_intermediate_with_a_foreign_certificate_is_not_believed(kind):
    """The Intermediate's own certificate comes from another CA, or is a Connector's: its clients do not register."""
    with Network() as net:
        system = System(net, services=("web",))
        foreign = Pki(net.work / "foreign-pki")
        daemon = system.agent if kind == "agent" else system.connector
        for identity, why in ((foreign.issue("intermediate", "i1", hosts=("198.18.3.2",)), "unknown CA|not trusted|issuer"),
                              (system.pki.issue("intermediate", "i9", hosts=("198.18.99.99",)), "198.18.3.2")):
            system.intermediate.use_identity(identity)
            # The clients' own certificates have to pass, so that only theirs of the server is in question; and the server's
            # own, which it would not start with otherwise.
            both = [(pki.ca / "ca.pem").read_text() for pki in (system.pki, foreign)]
            (system.intermediate.folder / "certs/ca.pem").write_text("".join(both))
            system.intermediate.start().wait_ready()
            daemon.start()
            wait_for(lambda: re.search(why, daemon.log()), 10, lambda: f"a reason:\n{daemon.log()}")
            assert not daemon.ready()
            assert total(system.intermediate.metrics(), "ztna_registrations_total") == 0
            daemon.process.stop()
            system.intermediate.process.stop()
