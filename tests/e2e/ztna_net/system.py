"""Our programs in their hosts, from certificates to readiness."""
import os
import shutil

from . import configs
from .backends import ping
from .metrics import http_get, scrape
from .pki import Pki, program
from .processes import wait_for
from .topology import INTERMEDIATE4, INTERMEDIATE6, SECOND4, SECOND6

CONNECTOR_USER = "nobody"
READY_SECONDS = 15
# Where ztnactl is told that the Intermediate lives: Agents and Connectors check its certificate against these.
INTERMEDIATE_NAME = "relay.test"  # known where System has `names`
INTERMEDIATE_HOSTS = (INTERMEDIATE4, INTERMEDIATE6, INTERMEDIATE_NAME)
SECOND_HOSTS = (SECOND4, SECOND6)


class Daemon:
    """One configured program: its host, folder (config file, certs/, state/) and process."""

    def __init__(self, system, kind, host, file_name, user=None):
        self.system, self.net, self.kind, self.host, self.user = system, system.net, kind, host, user
        self.folder = self.net.folder(kind if kind == host else f"{kind}-{host}")
        self.config_path = self.folder / file_name
        self.process = None
        for path in (self.folder, self.folder / "state"):
            path.mkdir(parents=True, exist_ok=True)
            if user:
                shutil.chown(path, user)
        system.daemons.append(self)

    def configure(self, content):
        configs.write(self.config_path, content)

    def use_identity(self, issued):
        """Puts a folder of certificates (Pki.issue) where the program looks by default."""
        target = self.folder / "certs"
        if target.exists():
            shutil.rmtree(target)
        shutil.copytree(issued, target)
        if self.user:
            for path in (target, *target.iterdir()):
                shutil.chown(path, self.user)

    def command(self, *flags):
        path = program({"agent": "ztna-agent", "connector": "app-connector", "intermediate": "intermediate-server"}[self.kind])
        arguments = ["--config", self.config_path, *flags]
        if not os.environ.get("ZTNA_E2E_VALGRIND"):
            return [path, *arguments]
        # valgrind opens the program as the daemon's user, who may not enter the clone's folder (one below /root).
        folder = self.net.folder("valgrind")
        folder.mkdir()
        readable = shutil.copy(path, folder)
        return ["valgrind", "--leak-check=full", "--errors-for-leak-kinds=definite", "--error-exitcode=99",
                "--child-silent-after-fork=yes", readable, *arguments]

    def start(self, *flags):
        self.process = self.net.spawn(self.host, *self.command(*flags), log=self.folder / f"{self.kind}.log",
                                      user=self.user, names=self.system.names)
        return self

    def run(self, *flags, timeout=20):
        """Runs to its end in the foreground: CompletedProcess (for --check-config and refusals at start)."""
        return self.net.attempt(self.host, *self.command(*flags), timeout=timeout)

    def log(self):
        return self.process.log()

    @property
    def metrics_port(self):
        return configs.METRICS_PORT[self.kind]

    def ready(self):
        return http_get(self.net, self.host, self.metrics_port, "/readyz")[0] == 200

    def wait_ready(self, seconds=READY_SECONDS):
        factor = 10 if os.environ.get("ZTNA_E2E_VALGRIND") else 1

        def ready():
            assert self.process.running(), f"{self.kind} ended: {self.process.log()[-2000:]}"
            return self.ready()
        wait_for(ready, seconds * factor, lambda: f"{self.kind} on {self.host} ready:\n{self.process.log()[-2000:]}")
        return self

    def metrics(self):
        return scrape(self.net, self.host, self.metrics_port)

    def restart_after_kill(self):
        self.process.kill9()
        return self.start()


class System:
    """Intermediate, Connector (unprivileged) and Agents over a Network; start() brings them up and waits for readiness.

    services: what the Connector offers and the Agents use; agent_services=None lets the Agents take the Catalog. names: addresses
    of the Intermediate in the order of a resolver; Agents and Connector are then configured with its name. In a Network with a
    second public host there is a second Intermediate, which the Connector and the Agents are told, too.
    """

    def __init__(self, net, services=tuple(configs.SERVICES), agents=("agent1",), agent_services="same", pki=None,
                 intermediate=None, connector=None, agent=None, names=None):
        self.names = names and net.folder("hosts")
        if names:
            self.names.write_text("127.0.0.1 localhost\n" + "".join(f"{a} {INTERMEDIATE_NAME}\n" for a in names))
            os.chmod(self.names, 0o644)
            agent = {"serverHost": INTERMEDIATE_NAME, **(agent or {})}
            connector = {"intermediate_server": {"host": INTERMEDIATE_NAME, "port": configs.PORT}, **(connector or {})}
        self.net, self.daemons, self.services = net, [], services
        self.pki = pki or Pki(net.folder("pki"))
        wanted = services if agent_services == "same" else agent_services
        self.intermediate = Daemon(self, "intermediate", "intermediate", "intermediate.json")
        self.intermediate.configure({**configs.intermediate(self.intermediate.folder), **(intermediate or {})})
        self.intermediate.use_identity(self.pki.issue("intermediate", "i1", hosts=INTERMEDIATE_HOSTS))
        self.second, more_c, more_a = None, {}, {}
        if "intermediate2" in net.hosts:
            self.second = Daemon(self, "intermediate", "intermediate2", "intermediate.json")
            self.second.configure({**configs.intermediate(self.second.folder), **(intermediate or {})})
            self.second.use_identity(self.pki.issue("intermediate", "i2", hosts=SECOND_HOSTS))
            others = [{"host": SECOND4, "port": configs.PORT}]
            more_c, more_a = {"intermediate_servers": others}, {"servers": others}
        self.connector = Daemon(self, "connector", "connector", "connector.json", CONNECTOR_USER)
        self.connector.configure({**configs.connector(self.connector.folder, services), **more_c, **(connector or {})})
        self.connector.use_identity(self.pki.issue("connector", "c1", services))
        self.agents = {}
        for host in agents:
            daemon = self.agents[host] = Daemon(self, "agent", host, "agent.json")
            daemon.configure({**configs.agent(daemon.folder, wanted), **more_a, **(agent or {})})
            daemon.use_identity(self.pki.issue("agent", host, services))
        net.run("connector", "ip", "route", "replace", "unreachable", configs.UNREACHABLE)

    @property
    def agent(self):
        return self.agents["agent1"]

    def start(self):
        for daemon in filter(None, (self.intermediate, self.second)):
            daemon.start().wait_ready()
        self.connector.start().wait_ready()
        for daemon in self.agents.values():
            daemon.start()
        for daemon in self.agents.values():
            daemon.wait_ready()
        return self

    def tunnel_rtt(self, service="web"):
        """Round trip of the first Agent's tunnel in seconds, by echoes that the Connector answers."""
        rtt = ping(self.net, next(iter(self.agents)), configs.virtual4(service), count=5)
        assert rtt is not None, "no echo"
        return rtt / 1000

    def stop(self):
        """Ends the daemons in the order Agent, Connector, Intermediate; {kind-host: exit code}."""
        codes = {}
        for daemon in reversed(self.daemons):
            if daemon.process is not None:
                codes[f"{daemon.kind}-{daemon.host}"] = daemon.process.stop(10)
        return codes

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()
