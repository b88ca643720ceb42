"""Who is not let in. Each row: the daemon says why in its log, the Intermediate logs and counts, nothing is registered.

    agent1 -- nata -- inet -- natb -- connector
                       |
                  intermediate (only it is up)
"""
import pytest
from ztna_net import configs
from ztna_net.metrics import increases, matching, total
from ztna_net.pki import EXPIRED, VALID, Pki, san
from ztna_net.processes import wait_for
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


ROWS = ["wrong CA, agent", "wrong CA, connector", "no ZTNA identity, agent", "no ZTNA identity, connector",
        "role only in one of the two SANs", "SANs contradict each other", "expired, agent", "expired, connector",
        "wrong role, connector's as agent", "wrong role, agent's as connector", "wrong service, agent",
        "wrong service, connector", "purpose missing"]
# By TLS, by the identity in the certificate, or by what it may register: each has a series of its own.
COUNTED = "ztna_registration_rejections_total|ztna_identities_refused_total|ztna_connections_ended_total"
WHY = ("refused", "denied", "not permitted", "expired", "unknown ca", "bad_certificate", "certificate", "identity", "role")


@pytest.fixture(scope="module")
def made(lonely):
    return identities(lonely)


@pytest.mark.parametrize("row", ROWS)
def test_refused(lonely, made, row):
    kind, folder = made[row]
    before, log_before = lonely.intermediate.metrics(), lonely.intermediate.log()
    daemon = intruder(lonely, kind)
    daemon.use_identity(folder)
    daemon.start()
    try:
        # Either it finds out itself and ends with 2, or the Intermediate refuses it and both say so.
        wait_for(lambda: not daemon.process.running() or said_why(daemon.log()), 10,
                 lambda: f"a reason in the log of the {kind}:\n{daemon.log()}")
        assert said_why(daemon.log()), daemon.log()
        if daemon.process.running():
            assert not daemon.ready()
            wait_for(lambda: matching(increases(before, lonely.intermediate.metrics()), COUNTED), 5, "a counted refusal")
            assert said_why(lonely.intermediate.log()[len(log_before):]), lonely.intermediate.log()[len(log_before):]
        else:
            assert daemon.process.wait(1) == 2
        after = lonely.intermediate.metrics()
        assert total(after, "ztna_registrations_total") == total(before, "ztna_registrations_total")
    finally:
        daemon.process.stop()


def said_why(log):
    lines = [line for line in log.lower().splitlines() if any(level in line for level in (" warn ", " error ", ":"))]
    return any(word in line for line in lines for word in WHY)


@pytest.mark.parametrize("kind", ["agent", "connector"])
def test_intermediate_with_a_foreign_certificate_is_not_believed(kind):
    """The Intermediate's own certificate comes from another CA, or is a Connector's: its clients do not register."""
    with Network() as net:
        system = System(net, services=("web",))
        foreign = Pki(net.work / "foreign-pki")
        daemon = system.agent if kind == "agent" else system.connector
        for identity in (foreign.issue("intermediate", "i1", hosts=("198.18.3.2",)),
                         system.pki.issue("intermediate", "i9", hosts=("198.18.99.99",))):
            system.intermediate.use_identity(identity)
            # The clients' own certificates have to pass, so that only theirs of the server is in question.
            (system.intermediate.folder / "certs/ca.pem").write_text((system.pki.ca / "ca.pem").read_text())
            system.intermediate.start().wait_ready()
            daemon.start()
            wait_for(lambda: said_why(daemon.log()), 10, lambda: f"a reason:\n{daemon.log()}")
            assert not daemon.ready()
            assert total(system.intermediate.metrics(), "ztna_registrations_total") == 0
            daemon.process.stop()
            system.intermediate.process.stop()
