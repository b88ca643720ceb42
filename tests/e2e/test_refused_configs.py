"""What keeps a program from starting: one line that says what and how to mend it, exit code 2.

    agent1      connector      intermediate      (each alone in its host)
"""
import json
import os
import shutil
import subprocess

import pytest
from ztna_net import configs
from ztna_net.pki import EXPIRED, Pki, program, san
from ztna_net.processes import wait_for
from ztna_net.system import INTERMEDIATE_HOSTS, System
from ztna_net.topology import Network

DAEMONS = ["intermediate", "connector", "agent"]
PROGRAM = {"intermediate": "intermediate-server", "connector": "app-connector", "agent": "ztna-agent"}


@pytest.fixture(scope="module")
def idle():
    """Everything configured, nothing started."""
    with Network() as net:
        yield System(net, services=("web",))


def daemon_of(system, kind):
    return {"intermediate": system.intermediate, "connector": system.connector, "agent": system.agent}[kind]


def refused(done, *words):
    """Exit code 2 and one line on standard error with all of the words."""
    said = (done.stderr + done.stdout).strip()
    assert done.returncode == 2, f"exit {done.returncode}: {said}"
    assert len(said.splitlines()) == 1, said
    for word in words:
        assert word in said, f"{word!r} is not in: {said}"


@pytest.mark.parametrize("kind", DAEMONS)
def test_bad_json(idle, kind, tmp_path):
    path = tmp_path / f"{kind}.json"
    path.write_text('{"port": 4433,\n  "services": [}\n')
    refused(idle.net.attempt("agent1", program(PROGRAM[kind]), "--config", path), f"{kind}.json")


@pytest.mark.parametrize("kind,wrong,right", [("intermediate", "prot", "port"), ("connector", "servises", "services"),
                                              ("agent", "serverHots", "serverHost")])
def test_unknown_key_names_the_nearest(idle, kind, wrong, right):
    daemon = daemon_of(idle, kind)
    content = json.loads(daemon.config_path.read_text())
    path = daemon.folder / "unknown-key.json"
    path.write_text(json.dumps({**content, wrong: 1}))
    done = idle.net.attempt(daemon.host, program(PROGRAM[kind]), "--config", path)
    refused(done, wrong, right, "unknown-key.json")


@pytest.mark.parametrize("kind", DAEMONS)
def test_check_config(idle, kind):
    daemon = daemon_of(idle, kind)
    done = daemon.run("--check-config")
    assert done.returncode == 0, done.stderr
    path = daemon.folder / "bad-value.json"
    path.write_text(json.dumps({**json.loads(daemon.config_path.read_text()),
                                {"agent": "serverPort", "connector": "services", "intermediate": "port"}[kind]: "x"}))
    done = idle.net.attempt(daemon.host, program(PROGRAM[kind]), "--config", path, "--check-config")
    assert done.returncode == 2
    assert "bad-value.json" in done.stderr + done.stdout


@pytest.mark.parametrize("kind", DAEMONS)
@pytest.mark.parametrize("missing", ["ca.pem", "cert.pem", "key.pem"])
def test_missing_certificate_file(idle, kind, missing):
    daemon = daemon_of(idle, kind)
    path = daemon.folder / "certs" / missing
    kept = path.with_suffix(".kept")
    path.rename(kept)
    try:
        refused(daemon.run(), missing)
    finally:
        kept.rename(path)


def test_key_that_may_not_be_read(idle):
    daemon = idle.connector
    key = daemon.folder / "certs/key.pem"
    os.chown(key, 0, 0)
    os.chmod(key, 0o600)
    try:
        done = subprocess.run(idle.net.inside(
            "connector", "setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups", "--inh-caps=-all",
            "--bounding-set=-all", *daemon.command()), capture_output=True, text=True, timeout=20)
        refused(done, "key.pem")
    finally:
        daemon.use_identity(idle.pki.folder / "connector-c1")


def test_key_of_another_certificate(idle):
    daemon = idle.agent
    other = idle.pki.issue("agent", "somebody-else", ["web"])
    kept = (daemon.folder / "certs/key.pem").read_bytes()
    (daemon.folder / "certs/key.pem").write_bytes((other / "key.pem").read_bytes())
    try:
        refused(daemon.run(), "key.pem")
    finally:
        (daemon.folder / "certs/key.pem").write_bytes(kept)


@pytest.mark.parametrize("kind", DAEMONS)
def test_check_config_says_what_start_says_of_certificates(idle, kind):
    daemon, folder = daemon_of(idle, kind), idle.net.folder(f"judged-{kind}")
    hosts = {"hosts": INTERMEDIATE_HOSTS} if kind == "intermediate" else {"services": ["web"]}
    foreign = Pki(folder / "foreign").issue(kind, "x1", **hosts)
    shutil.copy(idle.pki.ca / "ca.pem", foreign / "ca.pem")
    other = idle.pki.issue("connector" if kind == "agent" else "agent", "x2", ["web"], into=folder / "other")
    mixed = idle.pki.issue(kind, "x3", into=folder / "mixed", **hosts)
    shutil.copy(other / "key.pem", mixed / "key.pem")
    kept = shutil.copytree(daemon.folder / "certs", folder / "kept")
    try:
        for issued, says in ((idle.pki.custom(f"old-{kind}", [*san(kind, "x4"), *EXPIRED]), "expired"), (other, "ztnactl issue"),
                             (foreign, "not issued by this CA"), (mixed, "key.pem")):
            daemon.use_identity(issued)
            checked = daemon.run("--check-config")
            refused(checked, says)
            assert checked.stderr == daemon.run().stderr
    finally:
        daemon.use_identity(kept)


@pytest.mark.parametrize("kind,protocol,port", [
    ("intermediate", "udp", configs.PORT), ("connector", "udp", 4434),
    *((kind, "tcp", configs.METRICS_PORT[kind]) for kind in DAEMONS)])
def test_port_taken(idle, kind, protocol, port):
    daemon = daemon_of(idle, kind)
    address = f"UDP4-RECV:{port}" if protocol == "udp" else f"TCP4-LISTEN:{port}"
    holder = idle.net.spawn(daemon.host, "socat", "-u", address, "STDOUT", log=idle.net.work / "holder.log")
    try:
        wait_for(lambda: idle.net.listening(daemon.host, protocol, port), 5, "the port's holder")
        refused(daemon.run(), str(port))
    finally:
        holder.stop()


def test_tun_name_taken(idle):
    idle.net.run("agent1", "ip", "link", "add", "ztna0", "type", "veth", "peer", "name", "other-end")
    try:
        refused(idle.agent.run(), "ztna0")
    finally:
        idle.net.run("agent1", "ip", "link", "del", "ztna0")


def test_no_permission_for_the_tun(idle):
    daemon = idle.agent
    done = subprocess.run(idle.net.inside(
        "agent1", "setpriv", "--inh-caps=-all", "--bounding-set=-all", *daemon.command()), capture_output=True, text=True,
        timeout=20)
    refused(done, "CAP_NET_ADMIN")


def test_pool_overlaps_a_network_of_the_host(idle):
    idle.net.run("agent1", "ip", "addr", "add", "10.100.0.77/24", "dev", "lo")
    try:
        refused(idle.agent.run(), "10.100.0.0/24")
    finally:
        idle.net.run("agent1", "ip", "addr", "del", "10.100.0.77/24", "dev", "lo")


@pytest.mark.parametrize("kind", DAEMONS)
def test_unknown_flag_and_help_and_version(idle, kind):
    binary = program(PROGRAM[kind])
    assert subprocess.run([binary, "--no-such-flag"], capture_output=True, timeout=10).returncode == 2
    done = subprocess.run([binary, "--help"], capture_output=True, text=True, timeout=10)
    assert done.returncode == 0 and "--config" in done.stdout
    done = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=10)
    assert done.returncode == 0 and PROGRAM[kind] in done.stdout


@pytest.mark.parametrize("binary,flags", [("intermediate-server", ["--admin-port", "9443"]), ("ztna-agent", ["enroll"])])
def test_not_in_this_release(binary, flags):
    done = subprocess.run([program(binary), *flags], capture_output=True, text=True, timeout=10)
    assert done.returncode == 2 and "not in this release" in done.stderr + done.stdout


def test_minimal_files_are_enough(idle):
    """The smallest files that the specification shows."""
    for kind, content in (("agent", {"serverHost": "198.18.3.2", "serverPort": 4433, "serviceId": "web",
                                     "services": [{"id": "web", "virtualIp": "10.100.0.10"}]}),
                          ("connector", {"intermediate_server": {"host": "198.18.3.2", "port": 4433},
                                         "services": [{"id": "web", "backend": "10.20.1.2:80", "protocol": "tcp"}],
                                         "p2p": {"port": 4434}}),
                          ("intermediate", {"port": 4433, "bind_addr": "0.0.0.0"})):
        daemon = daemon_of(idle, kind)
        path = configs.write(daemon.folder / f"minimal-{kind}.json", content)
        done = idle.net.attempt(daemon.host, program(PROGRAM[kind]), "--config", path, "--check-config")
        assert done.returncode == 0, done.stderr
