"""What packaging/ starts the programs with: the Agent's capabilities, `./dev install`, the systemd units.

    agent1 -- nata -- inet -- natb -- connector -- backend
                       |
                  intermediate
"""
import json
import os
import re
import shutil
import subprocess

import pytest
from ztna_net import configs
from ztna_net.backends import PAGE_MARK, Backends, curl, ping
from ztna_net.built import ROOT
from ztna_net.configs import virtual4
from ztna_net.pki import Pki, program
from ztna_net.processes import mounts_of_its_own
from ztna_net.system import INTERMEDIATE_HOSTS, System
from ztna_net.topology import Network

PROGRAMS = {"agent": "ztna-agent", "connector": "app-connector", "intermediate": "intermediate-server"}


@pytest.fixture(scope="module")
def net():
    with Network(ipv6=False) as made:
        Backends(made, big=False)
        yield made


def of_unit(unit, key):
    found, = re.findall(rf"^{key}=(.*)$", (ROOT / f"packaging/systemd/{unit}.service").read_text(), re.MULTILINE)
    return found


def setpriv_list(unit, key):
    """The unit's capabilities as setpriv names them."""
    return ",".join(["-all", *("+" + name.lower().removeprefix("cap_") for name in of_unit(unit, key).split())])


# As on a system with udev, whose rules open the device to all.
OPEN_TUN = 'mount -t tmpfs -o mode=755 none /dev/net && mknod -m 0666 /dev/net/tun c 10 200 && exec "$@"'


@pytest.mark.skipif(not mounts_of_its_own(), reason="a /dev/net of one's own needs a root that is a mount point")
def test_agent_with_the_capabilities_of_its_unit(net):
    system = System(net, services=("web", "echo"))
    agent = system.agent
    for path in (agent.folder, *agent.folder.rglob("*")):
        shutil.chown(path, "nobody")
    privileges = ["--pdeathsig", "KILL", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups", "--no-new-privs",
                  "--ambient-caps", setpriv_list("ztna-agent", "AmbientCapabilities"),
                  "--inh-caps", setpriv_list("ztna-agent", "AmbientCapabilities"),
                  "--bounding-set", setpriv_list("ztna-agent", "CapabilityBoundingSet")]
    try:
        system.intermediate.start().wait_ready()
        system.connector.start().wait_ready()
        agent.process = net.spawn("agent1", "unshare", "--mount", "--", "sh", "-c", OPEN_TUN, "sh", "setpriv", *privileges,
                                  *agent.command(), log=agent.folder / "as-its-unit.log")
        agent.wait_ready()
        assert PAGE_MARK in curl(net, "agent1", f"http://{virtual4('web')}/", timeout=5).stdout
        assert ping(net, "agent1", virtual4("echo"), count=1) is not None
        with open(f"/proc/{agent.process.pid}/status") as f:
            fields = dict(line.split(":", 1) for line in f)
        assert "0" not in fields["Uid"].split() + fields["Gid"].split()
        assert {int(fields[name], 16) for name in ("CapPrm", "CapEff", "CapBnd")} == {1 << 12}  # CAP_NET_ADMIN
        assert int(fields["CapAmb"], 16) == 0, "what it starts would have it, too"
        assert not re.search("warn.*(permi|denied|cannot)", agent.log()), agent.log()
        assert agent.process.stop() == 0
        assert "ztna0" not in net.run("agent1", "ip", "link")
    finally:
        system.stop()


@pytest.fixture(scope="module", params=["/usr/local", "/usr"])
def installed(request, tmp_path_factory):
    """`./dev install` into a folder, of the programs that are tested: (folder, prefix, install again)."""
    tree, target = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("installed")
    (tree / "tools/dev").mkdir(parents=True)
    for name in ("packaging", "README.md", "LICENSE", *(f"tools/dev/{part}.sh" for part in ("install", "lib", "deps"))):
        (tree / name).symlink_to(ROOT / name)
    (tree / "tools/dev/build.sh").write_text(f"source '{ROOT}/tools/dev/build.sh'\nbuild_preset() {{ :; }}\n")
    (tree / "build/release").mkdir(parents=True)
    (tree / "build/release/bin").symlink_to(program("ztnactl").parent.resolve())

    def install():
        assert str(target) != "/" and target.is_dir()
        environment = {**os.environ, "ZTNA_ROOT": str(tree), "DESTDIR": str(target), "PREFIX": request.param}
        subprocess.run(["bash", tree / "tools/dev/install.sh"], env=environment, check=True, capture_output=True, text=True, timeout=60)
    install()
    return target, request.param, install


def test_installed_programs_and_configs(installed, tmp_path):
    target, prefix, install = installed
    for name in (*PROGRAMS.values(), "ztnactl"):
        path = target / f"{prefix[1:]}/bin/{name}"
        assert path.stat().st_mode & 0o7777 == 0o755
        assert name in subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=True).stdout
    pki = Pki(tmp_path / "pki")
    for kind, name in PROGRAMS.items():
        what = {"hosts": INTERMEDIATE_HOSTS} if kind == "intermediate" else {"services": ["web"]}
        shutil.copytree(pki.issue(kind, "x", **what), target / "etc/ztna/certs", dirs_exist_ok=True)
        config = target / f"etc/ztna/{kind}.json"
        done = subprocess.run([target / f"{prefix[1:]}/bin/{name}", "--config", config, "--check-config"], capture_output=True,
                              text=True, timeout=10)
        assert (done.returncode, done.stdout, done.stderr) == (0, f"{config}: ok\n", "")
    agents = target / "etc/ztna/agent.json"
    configs.write(agents, {"serverHost": "mine.example.com"})
    install()
    assert json.loads(agents.read_text()) == {"serverHost": "mine.example.com"}, "the operator's file was overwritten"


def complaints(*units):
    """What systemd-analyze says of them; of an unknown key it says so and ends with 0."""
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, timeout=60)
    return done.stdout + done.stderr + (f"exit {done.returncode}" if done.returncode else "")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed here")
def test_installed_units(installed, tmp_path):
    target, prefix, _ = installed
    folder = target / f"{prefix[1:]}/lib/systemd/system"
    assert sorted(path.stem for path in folder.iterdir()) == sorted(PROGRAMS.values())
    for path in folder.iterdir():
        text = path.read_text()
        assert f"ExecStart={prefix}/bin/{path.stem} --config /etc/ztna/" in text and "@" not in text.replace("@system-service", "")
        # The programs are not where the unit looks for them, but below the target.
        (tmp_path / path.name).write_text(text.replace(f"={prefix}/bin", f"={target}{prefix}/bin"))
    plain = configs.write(tmp_path / "plain/plain.service", "[Service]\nExecStart=/bin/true\n")
    if complaints(plain):
        pytest.skip(f"systemd-analyze verify does not work here: {complaints(plain)}")
    assert not complaints(*tmp_path.glob("*.service"))
