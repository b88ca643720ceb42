"""Certificates are renewed under real programs: new files in place and SIGHUP.

    agent1 -- nata -- inet -- natb -- connector -- backend
                       |
                  intermediate

    new certificate of              must hold, while a download runs and its checksum is looked at
    anybody, one that is no good    it is logged, what was there stays and serves
    the Agent                       new flows by a new tunnel, the download ends on the old one, which then closes
    the Agent, CA and all foreign   nothing of it is taken by the others: the old tunnel serves on
    the Connector                   a new Agent sees the new one; an old tunnel is replaced shortly before its certificate's end
    the Intermediate                who connects anew sees the new one; connections stay

The programs do not watch their files: without SIGHUP nothing changes. A certificate that ends: the control connection is closed by the Intermediate at its end, tunnels go on. (They end an hour
after it; that is shown on virtual time only, see tests/unit/agent/tunnels_renewal_test.cc and connector_renewal_test.cc.)
"""
import datetime
import shutil
import signal

import pytest
from ztna_net.backends import ECHO_PORT, PAGE_MARK, Backends, client, curl
from ztna_net.configs import virtual4
from ztna_net.failover import Download
from ztna_net.metrics import matching, total
from ztna_net.paths import quick_status
from ztna_net.pki import EXPIRED, Pki, san
from ztna_net.processes import wait_for
from ztna_net.system import INTERMEDIATE_HOSTS, Daemon, System
from ztna_net.topology import Network

SERVICES = ("web", "echo")
RATE = 2_000_000  # octets a second of the download
LINGER = 5  # how long a tunnel that was replaced still takes answers
ENDS_SOON = 240  # seconds, less than the five minutes before the end in which a newer certificate is looked for
LOOK = 30  # how long a tunnel lives before its Agent looks at the certificates in it


@pytest.fixture(scope="module")
def built():
    with Network() as net:
        Backends(net)
        net.block_direct(True)
        with System(net, services=SERVICES) as system:
            yield system


@pytest.fixture
def system(built):
    """All three have good certificates, and the Agent is new."""
    for daemon in (built.intermediate, built.connector):
        if "reload" not in daemon.process.log():
            continue
        daemon.use_identity(good(built, daemon.kind))
        daemon.restart_after_kill().wait_ready()
    built.agent.use_identity(good(built, "agent"))
    built.agent.restart_after_kill().wait_ready()
    wait_for(lambda: works(built), 10, "the page")
    return built


def good(system, kind):
    """A new certificate of the same name."""
    folder = system.net.folder(f"good-{kind}")
    if kind == "intermediate":
        return system.pki.issue(kind, "i1", hosts=INTERMEDIATE_HOSTS, into=folder)
    return system.pki.issue(kind, {"agent": "agent1", "connector": "c1"}[kind], SERVICES, into=folder)


def ending(system, kind, seconds):
    """One that ends in so many seconds."""
    end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
    name = {"agent": "agent1", "connector": "c1"}[kind]
    return system.pki.custom(f"ending-{kind}", [*san(kind, name), f'expiration_date = "{end:%Y-%m-%d %H:%M:%S} UTC"'],
                             into=system.net.folder(f"ending-{kind}"))


def reload(daemon, issued, says="reloaded certificates"):
    """Puts the certificate in place, sends SIGHUP, and waits for what the log says to it; the new part of the log."""
    before = len(daemon.log())
    daemon.use_identity(issued)
    daemon.process.signal(signal.SIGHUP)
    wait_for(lambda: says in daemon.log()[before:], 5, lambda: f"{says!r}:\n{daemon.log()[-2000:]}")
    return daemon.log()[before:]


def works(system):
    return PAGE_MARK in curl(system.net, "agent1", f"http://{virtual4('web')}/", timeout=3).stdout


def echoed(system, text="alive"):
    return client(system.net, "agent1", "udp_client.py", "once", virtual4("echo"), ECHO_PORT, text, 1)["reply"] == text


def tunnels(system):
    """The one with the most TCP connections first: while a download runs, the one that was replaced."""
    return sorted(quick_status(system.agent)["tunnels"], key=lambda t: -t["tcp_connections"])


def events(daemon, name):
    return total(matching(daemon.metrics(), f'event="{name}"'), "ztna_agent_tunnel_events_total")


def download(system, seconds=5):
    return Download(system.net, virtual4("web"), seconds * RATE, RATE)


def no_good(system, daemon):
    """{what is wrong: (folder, what the log must say)}."""
    kind, foreign = daemon.kind, Pki(system.net.folder("foreign"))
    other_kind = "connector" if kind == "agent" else "agent"
    mixed, junk, no_key = (good(system, kind) for _ in range(3))
    shutil.copy(good(system, kind) / "key.pem", mixed / "key.pem")
    (junk / "cert.pem").write_text("not a certificate\n")
    (no_key / "key.pem").unlink()
    stranger = system.net.folder("stranger")
    if kind == "intermediate":
        foreign.issue(kind, "i1", hosts=INTERMEDIATE_HOSTS, into=stranger)
    else:
        foreign.issue(kind, "x1", SERVICES, into=stranger)
    shutil.copy(system.pki.ca / "ca.pem", stranger / "ca.pem")  # the operator's own CA, and a certificate of another
    old = system.pki.custom(f"old-{kind}", [*san(kind, "old"), *EXPIRED], into=system.net.folder("old"))
    return {
        "junk": (junk, "no PEM file"),
        "no key": (no_key, "no such file"),
        "another key": (mixed, "key.pem"),
        "expired": (old, "expired on"),
        "another role": (good(system, other_kind), "ztnactl issue"),
        "another CA": (stranger, "not issued by this CA"),
    }


@pytest.mark.parametrize("kind", ["agent", "connector", "intermediate"])
def test_no_good_certificate_is_taken(system, kind):
    daemon = getattr(system, kind)
    reconnections = total(system.connector.metrics(), "ztna_connector_reconnections_total")
    with download(system, 3) as job:
        job.wait_progress(5)
        for what, (folder, says) in no_good(system, daemon).items():
            log = reload(daemon, folder, "reload refused")
            assert says in log, f"{what}: {log}"
            assert "stay" in log and "reloaded" not in log, f"{what}: {log}"
            assert works(system) and echoed(system), what
        job.finish()
    assert total(system.connector.metrics(), "ztna_connector_reconnections_total") == reconnections
    assert len(tunnels(system)) == 1 and events(system.agent, "renewed") == 0
    # What was there serves those who come anew, too.
    system.agent.use_identity(good(system, "agent"))
    system.agent.restart_after_kill().wait_ready()
    wait_for(lambda: works(system), 10, "the page for a new Agent")


def test_new_certificate_of_the_agent(system):
    with download(system) as job:
        job.wait_progress(5)
        old_ones = len(system.connector.log())
        reload(system.agent, good(system, "agent"))
        wait_for(lambda: events(system.agent, "renewed") == 1, 5, lambda: f"another tunnel:\n{system.agent.log()[-2000:]}")
        old, new = tunnels(system)
        assert (old["tcp_connections"], new["tcp_connections"]) == (1, 0)
        assert works(system) and echoed(system)
        later = tunnels(system)
        assert later[1]["bytes_received"] > new["bytes_received"], "what is new goes by the new tunnel"
        assert later[0]["tcp_connections"] == 1 and job.running(), "the download has stayed"
        print(f"download: {job.finish()}")
    wait_for(lambda: len(tunnels(system)) == 1, LINGER + 3, lambda: f"the old one closes: {tunnels(system)}")
    def told():
        return system.connector.log()[old_ones:]
    wait_for(lambda: "replaced by a newer tunnel" in told(), 2, told)
    assert told().count("tunnel established") == 1, told()
    assert works(system) and echoed(system)


def test_agent_takes_only_what_the_others_take(system):
    """CA, certificate and key are all of another CA: consistent, so it is loaded; nobody believes it."""
    foreign = Pki(system.net.folder("foreign"))
    with download(system, 3) as job:
        job.wait_progress(5)
        reload(system.agent, foreign.issue("agent", "agent1", SERVICES))
        wait_for(lambda: "tunnel failed" in system.agent.log(), 10, lambda: system.agent.log()[-2000:])
        assert works(system) and echoed(system)
        job.finish()
    assert len([t for t in tunnels(system) if t["connector"]]) == 1 and events(system.agent, "renewed") == 0
    reload(system.agent, good(system, "agent"))
    wait_for(lambda: events(system.agent, "renewed") == 1, 15, lambda: f"the good one:\n{system.agent.log()[-2000:]}")
    assert works(system) and echoed(system)


def test_same_certificate_again_changes_nothing(system):
    opened = events(system.agent, "opened")
    for daemon in (system.agent, system.connector, system.intermediate):
        reload(daemon, daemon.folder / "same" if (daemon.folder / "same").exists() else
               shutil.copytree(daemon.folder / "certs", daemon.folder / "same"))
    assert works(system) and echoed(system)
    assert events(system.agent, "opened") == opened and len(tunnels(system)) == 1


def test_new_certificate_of_the_intermediate(system):
    """The new one names another host: who connects anew finds that out, who is connected does not."""
    elsewhere = system.pki.issue("intermediate", "i1", hosts=["elsewhere.test"], into=system.net.folder("elsewhere"))
    reconnections = total(system.connector.metrics(), "ztna_connector_reconnections_total")
    with download(system) as job:
        job.wait_progress(5)
        reload(system.intermediate, elsewhere)
        assert works(system) and echoed(system)
        newcomer = Daemon(system, "agent", "agent2", "agent.json")
        try:
            newcomer.configure(system.agent.config_path.read_text().replace(str(system.agent.folder), str(newcomer.folder)))
            newcomer.use_identity(system.pki.issue("agent", "agent2", SERVICES, into=system.net.folder("newcomer")))
            newcomer.start()
            wait_for(lambda: "cannot connect to the Intermediate" in newcomer.log(), 10, newcomer.log)
            assert not newcomer.ready()
            reload(system.intermediate, good(system, "intermediate"))
            newcomer.wait_ready()
        finally:
            newcomer.process and newcomer.process.stop()
            system.daemons.remove(newcomer)
        job.finish()
    assert total(system.connector.metrics(), "ztna_connector_reconnections_total") == reconnections
    assert total(system.agent.metrics(), "ztna_agent_reconnections_total") == 0


def test_new_certificate_of_the_connector_is_found_before_the_old_one_ends(system):
    system.connector.use_identity(ending(system, "connector", ENDS_SOON))
    system.connector.restart_after_kill().wait_ready()
    wait_for(lambda: works(system), 10, "the page")
    with download(system, LOOK + 10) as job:
        job.wait_progress(5)
        reload(system.connector, good(system, "connector"))
        assert works(system) and len(tunnels(system)) == 1, "nobody tells the Agent"
        wait_for(lambda: events(system.agent, "renewed") == 1, LOOK + 5,
                 lambda: f"another tunnel:\n{system.agent.log()[-2000:]}")
        old, new = tunnels(system)
        assert old["tcp_connections"] == 1 and works(system)
        assert tunnels(system)[1]["bytes_received"] > new["bytes_received"]
        print(f"download: {job.finish()}")
    wait_for(lambda: len(tunnels(system)) == 1, LINGER + 3, "the old one closes")
    assert works(system) and echoed(system)


def test_certificate_of_the_agent_ends(system):
    """The control connection ends with it; the tunnel and what it carries goes on, and a new certificate mends the rest."""
    system.agent.use_identity(ending(system, "agent", 8))
    system.agent.restart_after_kill().wait_ready()
    wait_for(lambda: works(system), 5, "the page")
    ends = 'reason="certificate_expired"'
    before = sum(matching(system.intermediate.metrics(), ends).values())
    with download(system, 14) as job:
        wait_for(lambda: not system.agent.ready(), 15, "the end of the control connection")
        assert sum(matching(system.intermediate.metrics(), ends).values()) == before + 1
        assert "certificate has expired" in system.agent.log()
        assert system.agent.run().returncode == 2, "nobody starts with it"
        job.wait_progress(3)
        assert works(system), "a new flow on the tunnel that lives (offlineGrace)"
        reload(system.agent, good(system, "agent"))
        wait_for(lambda: system.agent.ready(), 3, lambda: f"registered again:\n{system.agent.log()[-2000:]}")
        wait_for(lambda: events(system.agent, "renewed") == 1, 5, "the new certificate's tunnel")
        assert works(system) and echoed(system)
        print(f"download: {job.finish()}")
