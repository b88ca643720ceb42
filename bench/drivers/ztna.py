"""This project: Intermediate on the relay host, Connector and Agent behind their NATs, built by ./dev build.

Works with any bench that has this driver interface (run.py --driver-dir bench/drivers); ZTNA_BIN names other programs.
"""
import json
import os
import pathlib
import subprocess

import driver
from topology import RELAY, sh, wait_for

ROOT = pathlib.Path(__file__).resolve().parents[2]
REAL_BACKEND = "10.20.1.2"
SERVICE = "bench"
VIRTUAL = "10.100.0.10"
METRICS_PORT = {"relay": 9090, "connector": 9091, "agent": 9092}
PROGRAM = {"relay": "intermediate-server", "connector": "app-connector", "agent": "ztna-agent"}


class Driver(driver.Driver):
    name = "ztna"
    has_relay = True
    nat_traversal = True
    backend = VIRTUAL
    note = "defaults: direct where the NATs allow it, else relayed; the path of each measurement is listed above"

    def program(self, name):
        return str(pathlib.Path(os.environ.get("ZTNA_BIN") or ROOT / "build/release/bin") / name)

    def prepare(self):
        ztnactl = self.program("ztnactl")
        sh(ztnactl, "ca", "init", "--out", self.path("ca"))
        issue = {"relay": ("intermediate", "--host", RELAY), "connector": ("connector", "--service", SERVICE),
                 "agent": ("agent", "--service", SERVICE)}
        for role, (kind, *what) in issue.items():
            sh(ztnactl, "issue", kind, "--ca", self.path("ca"), "--name", "bench", *what,
               "--out", self.path(role + "/certs"))
        self.config("relay", {"port": 4433, "bind_addr": "0.0.0.0", "metrics_port": METRICS_PORT["relay"],
                              "state_dir": self.path("relay/state")})
        self.config("connector", {
            "intermediate_server": {"host": RELAY, "port": 4433}, "metrics_port": METRICS_PORT["connector"],
            "services": [{"id": SERVICE, "backend": REAL_BACKEND, "ports": ["tcp/5201", "udp/5201", "udp/7000"]}],
            "state_dir": self.path("connector/state")})
        self.config("agent", {
            "serverHost": RELAY, "serverPort": 4433, "services": [{"id": SERVICE, "virtualIp": VIRTUAL}],
            "metricsPort": METRICS_PORT["agent"], "controlSocket": self.path("agent/agent.sock"),
            "stateDir": self.path("agent/state")})

    def config(self, role, content):
        self.write(f"{role}/config.json", json.dumps(content, indent=1))

    def start(self, role):
        self.daemon(role, self.program(PROGRAM[role]), "--config", self.path(role + "/config.json"))

    def ready(self, role):
        url = f"http://127.0.0.1:{METRICS_PORT[role]}/readyz"
        command = self.net.inside(role, "curl", "-s", "-f", "-m", "1", "-o", "/dev/null", url)
        return subprocess.run(command, check=False).returncode == 0

    def path_said(self):
        command = self.net.inside("agent", self.program("ztna-agent"), "--config", self.path("agent/config.json"), "status", "--json")
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        try:
            tunnels = json.loads(done.stdout)["tunnels"]
        except (ValueError, KeyError):
            return f"status: {done.stderr.strip() or 'unreadable'}"
        return ", ".join(t["path"] + (f" ({t['relay_reason']})" if t.get("relay_reason") else "") for t in tunnels) or "no tunnel"

    def up_servers(self):
        for role in ("relay", "connector"):
            self.start(role)
            wait_for(lambda r=role: self.ready(r), 15, f"ztna {role}")

    def up_agent(self):
        self.start("agent")
