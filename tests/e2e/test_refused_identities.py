"""Who is not let in. Each row: the daemon says why in its log, the Intermediate logs and counts, nothing is registered.

    agent1 -- nata -- inet -- natb -- connector
                       |
                  intermediate (only it is up)
"""
import re

import pytest
from ztna_net import configs
from ztna_net.backends import ping
from ztna_net.configs import virtual4
from ztna_net.metrics import increases, matching, total
from ztna_net.pki import EXPIRED, VALID, Pki, san
from ztna_net.processes import wait_for
from ztna_net.stranger import approach, hello, messages, register_agent, register_connector
from ztna_net.system import INTERMEDIATE_HOSTS, Daemon, System
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


CONTRADICTION = "the URI names the role connector, a DNS name the role agent"

# What a program finds out about its own certificate: row -> what it says and ends with, code 2.
ENDS = {
    "no ZTNA identity, agent": "no URI name: spiffe://",
    "no ZTNA identity, connector": "no URI name: spiffe://",
    "role only in one of the two SANs": "no URI name: spiffe://",
    "SANs contradict each other": CONTRADICTION,
    "expired, agent": "expired on 2020-02-01",
    "expired, connector": "expired on 2020-02-01",
    "wrong role, connector's as agent": "this is the connector poser-c, expected the role agent",
    "wrong role, agent's as connector": "this is the agent poser-a, expected the role connector",
    "purpose missing": "extended key usage does not allow client authentication",
}


@pytest.fixture(scope="module")
def made(lonely):
    return identities(lonely)


@pytest.mark.parametrize("row", ENDS)
def test_program_says_why(lonely, made, row):
    """Our own programs, told to use it: they end, say why in one line, and the Intermediate never hears of them."""
    kind, folder = made[row]
    before = lonely.intermediate.metrics()
    daemon = intruder(lonely, kind)
    daemon.use_identity(folder)
    daemon.start()
    try:
        assert daemon.process.wait(10) == 2
        assert len(daemon.log().splitlines()) == 1 and f"cert.pem: {ENDS[row]}" in daemon.log(), daemon.log()
        grown = increases(before, lonely.intermediate.metrics())
        assert not matching(grown, "registration|connections_ended"), grown
    finally:
        daemon.process.stop()


# What only the other side can tell: row -> (the program's log, the Intermediate's log, counted there as). Each of them is met by
# the refusal alone: that its certificate does not permit a service the program warns of by itself, before it asks.
REFUSED = {
    **{f"wrong CA, {kind}": ("cannot connect to the Intermediate.*failed.*unknown CA",
                             "control connection refused.*closed by peer.*unknown CA", "connections_ended.*handshake_failed")
       for kind in ("agent", "connector")},
    "wrong service, agent": ("registration refused service=web why=.*not_permitted",
                             'registration refused client="agent elsewhere-a" service=web status=not_permitted',
                             "requests_refused.*not_permitted"),
    "wrong service, connector": ("service refused by the Intermediate service=web status=not_permitted",
                                 'registration refused client="connector elsewhere-c" service=web status=not_permitted',
                                 "requests_refused.*not_permitted"),
}


@pytest.mark.parametrize("row", REFUSED)
def test_program_hears_why(lonely, made, row):
    """Our own programs, told to use it: they never become ready, and both logs say why."""
    (kind, folder), (heard, said, counted) = made[row], REFUSED[row]
    before, log_before = lonely.intermediate.metrics(), lonely.intermediate.log()
    daemon = intruder(lonely, kind)
    daemon.use_identity(folder)
    daemon.start()
    try:
        wait_for(lambda: re.search(heard, daemon.log()), 10, lambda: f"{heard!r} in the log:\n{daemon.log()}")
        wait_for(lambda: re.search(said, lonely.intermediate.log()[len(log_before):]), 5,
                 lambda: f"{said!r} in the log:\n{lonely.intermediate.log()[len(log_before):]}")
        grown = increases(before, lonely.intermediate.metrics())
        assert matching(grown, counted), grown
        assert daemon.process.running() and not daemon.ready()
        assert registrations(lonely) == total(before, "ztna_registrations_total")
    finally:
        daemon.process.stop()


def registrations(system):
    return total(system.intermediate.metrics(), "ztna_registrations_total")


ALERT = 0x100  # a TLS alert as a QUIC transport error, RFC 9001 4.8
UNSUPPORTED_CERTIFICATE, CERTIFICATE_EXPIRED, UNKNOWN_CA, ACCESS_DENIED, CERTIFICATE_REQUIRED = 43, 45, 48, 49, 116

# Strangers that do not look at their own certificate: TLS turns them away. row -> (alert, reason, counted as)
AT_THE_DOOR = {
    "no certificate": (CERTIFICATE_REQUIRED, "no client certificate", "handshake_failed"),
    "wrong CA, agent": (UNKNOWN_CA, "unknown CA", "handshake_failed"),
    "wrong CA, connector": (UNKNOWN_CA, "unknown CA", "handshake_failed"),
    "expired, agent": (CERTIFICATE_EXPIRED, "certificate expired", "handshake_failed"),
    "expired, connector": (CERTIFICATE_EXPIRED, "certificate expired", "handshake_failed"),
    "no ZTNA identity, agent": (ACCESS_DENIED, "no URI name: spiffe://", "identity_refused"),
    "no ZTNA identity, connector": (ACCESS_DENIED, "no URI name: spiffe://", "identity_refused"),
    "role only in one of the two SANs": (ACCESS_DENIED, "no URI name: spiffe://", "identity_refused"),
    "SANs contradict each other": (ACCESS_DENIED, CONTRADICTION, "identity_refused"),
    "purpose missing": (UNSUPPORTED_CERTIFICATE, "certificate is not for client authentication", "handshake_failed"),
}


@pytest.mark.parametrize("row", AT_THE_DOOR)
def test_intermediate_turns_away(lonely, made, row):
    alert, why, counted = AT_THE_DOOR[row]
    before, log_before = lonely.intermediate.metrics(), lonely.intermediate.log()
    done = approach(lonely.net, "agent1", made[row][1] if row in made else None, hello() + register_agent("web"))
    assert done["closed"] and done["closed"]["by_peer"] and why in done["closed"]["text"], done
    assert not done["closed"]["application"] and done["closed"]["code"] == ALERT + alert, done
    assert done["received"] == ""
    wait_for(lambda: matching(increases(before, lonely.intermediate.metrics()), f"connections_ended.*{counted}"), 3,
             "a counted refusal")
    assert re.search(f"control connection refused.*{re.escape(why)}", lonely.intermediate.log()[len(log_before):])
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


DENIED = 3  # docs/protocol.md 6


@pytest.fixture
def lenient(lonely):
    """The same with an Intermediate that does not ask for certificates."""
    try:
        lonely.intermediate.process.kill9()
        lonely.intermediate.start("--no-require-client-cert").wait_ready()
        yield lonely
    finally:
        lonely.intermediate.restart_after_kill().wait_ready()


@pytest.mark.parametrize("ask", [register_agent, register_connector])
def test_without_a_certificate_the_handshake_is_all(lenient, ask):
    """--no-require-client-cert: the handshake ends well, the first message is answered with `denied`."""
    intermediate = lenient.intermediate
    assert "client certificates are not required" in intermediate.log()
    done = approach(lenient.net, "agent1", None, hello() + ask("web"))
    assert done["established"] and done["received"] == "", done
    assert done["closed"] == {"by_peer": True, "application": True, "code": DENIED, "text": "no client certificate"}, done
    wait_for(lambda: "control connection ended" in intermediate.log(), 3, intermediate.log)
    assert re.search('control connection ended client="unknown client".*no client certificate', intermediate.log())
    metrics = intermediate.metrics()
    assert metrics['ztna_connections_ended_total{reason="identity_refused"}'] == total(metrics, "ztna_connections_ended_total") == 1
    assert registrations(lenient) == total(metrics, "ztna_services") == total(metrics, "ztna_active_connections") == 0


def test_a_certificate_that_is_shown_is_judged(lenient, made):
    """--no-require-client-cert concerns those without one: a foreign one is turned away, a good one is taken."""
    done = approach(lenient.net, "agent1", made["wrong CA, agent"][1], hello() + register_agent("web"))
    assert not done["closed"]["application"] and done["closed"]["code"] == ALERT + UNKNOWN_CA, done
    assert registrations(lenient) == 0
    done = approach(lenient.net, "agent1", made["wrong service, agent"][1], hello() + register_agent("other"), seconds=0.7)
    assert done["closed"] is None and registrations(lenient) == 1, done


def trusts(daemon, *authorities):
    """Makes the daemon take certificates of all of these."""
    (daemon.folder / "certs/ca.pem").write_text("".join((pki.ca / "ca.pem").read_text() for pki in authorities))


def test_connector_without_verification_judges_agents_all_the_same():
    """--no-verify-peer of the Connector is about the Intermediate: it takes a foreign one, and no foreign Agent, which everybody
    else believes. An Agent of its own CA gets in by the same way."""
    with Network() as net:
        system = System(net, services=("web",))
        foreign = Pki(net.work / "foreign-pki")
        system.intermediate.use_identity(foreign.issue("intermediate", "i1", hosts=INTERMEDIATE_HOSTS))
        system.agent.use_identity(foreign.issue("agent", "stranger", ["web"]))
        for daemon in (system.intermediate, system.agent):
            trusts(daemon, system.pki, foreign)
        system.intermediate.start().wait_ready()
        system.connector.start("--no-verify-peer").wait_ready()
        assert "peer verification is off" in system.connector.log()
        system.agent.start().wait_ready()
        assert ping(net, "agent1", virtual4("web"), count=1, wait=1) is None, "a foreign Agent uses the service"
        wait_for(lambda: re.search("tunnel failed.*unknown CA", system.connector.log()), 5, system.connector.log)
        assert total(system.connector.metrics(), "ztna_connector_tunnels_total") == 0
        assert system.agent.metrics()['ztna_agent_tunnel_events_total{event="failed"}'] >= 1

        system.agent.use_identity(system.pki.folder / "agent-agent1")
        trusts(system.agent, system.pki, foreign)
        system.agent.restart_after_kill().wait_ready()
        wait_for(lambda: ping(net, "agent1", virtual4("web"), count=1, wait=1) is not None, 10, system.agent.log)


@pytest.mark.parametrize("kind", ["agent", "connector"])
def test_intermediate_with_a_foreign_certificate_is_not_believed(kind):
    """The Intermediate's own certificate comes from another CA, or names another host: its clients do not register."""
    with Network() as net:
        system = System(net, services=("web",))
        foreign = Pki(net.work / "foreign-pki")
        daemon = system.agent if kind == "agent" else system.connector
        for identity, why in ((foreign.issue("intermediate", "i1", hosts=("198.18.3.2",)), "unknown CA"),
                              (system.pki.issue("intermediate", "i9", hosts=("198.18.99.99",)), "certificate is not for 198.18.3.2")):
            system.intermediate.use_identity(identity)
            # The clients' own certificates have to pass, so that only theirs of the server is in question; and the server's
            # own, which it would not start with otherwise.
            trusts(system.intermediate, system.pki, foreign)
            system.intermediate.start().wait_ready()
            daemon.start()
            wait_for(lambda: re.search(f"cannot connect to the Intermediate.*failed.*{re.escape(why)}", daemon.log()), 10,
                     lambda: f"a reason:\n{daemon.log()}")
            assert not daemon.ready()
            assert total(system.intermediate.metrics(), "ztna_registrations_total") == 0
            daemon.process.stop()
            system.intermediate.process.kill9()  # nothing to drain
