"""What stands on the backend host: nginx with pages and uploads, UDP echo, TCP oddities, iperf3."""
import hashlib
import json
import os
import pathlib
import random

from .built import tools_folder
from .processes import wait_for
from .topology import BACKEND4, BACKEND4_OTHER

INSIDE = pathlib.Path(__file__).parent / "inside"
PYTHON = "/usr/bin/python3"
BIG_BYTES = 200 * 1000 * 1000
PAGE_MARK = "the private page behind the connector"

WEB_PORT = 80
ECHO_PORT = 7000  # UDP
SPOOF_PORT = 7010  # UDP; answers b"OTHER..." from another address
TCP_FIRST = 7100  # tcp_server.py: digest, reset, stalled, ticker, echo, farewell
DIGEST, RESET, STALLED, TICKER, ECHO, FAREWELL = range(TCP_FIRST, TCP_FIRST + 6)
REFUSED_PORT = 7199  # nobody listens
IPERF_PORT = 5201

NGINX = """
user root;
worker_processes 1;
daemon off;
pid {work}/nginx.pid;
error_log {work}/nginx-error.log warn;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_max_body_size 0;
  client_body_temp_path {work}/nginx-body;
  proxy_temp_path {work}/nginx-proxy;
  fastcgi_temp_path {work}/nginx-fastcgi;
  uwsgi_temp_path {work}/nginx-uwsgi;
  scgi_temp_path {work}/nginx-scgi;
  sendfile on;
  server {{
    listen {port} backlog=4096;
    listen [::]:{port} backlog=4096;
    root {work}/www;
    location /up/ {{ dav_methods PUT; create_full_put_path on; }}
    location = /big.bin {{ alias {big}; }}
  }}
}}
"""


def big_file():
    """200 MB that do not compress, made once: (path, SHA-256)."""
    folder = tools_folder()
    path, note = folder / "big.bin", folder / "big.sha256"
    if not (path.exists() and path.stat().st_size == BIG_BYTES and note.exists()):
        fresh, rng, digest = folder / f"big.{os.getpid()}", random.Random(200), hashlib.sha256()
        with open(fresh, "wb") as f:
            for _ in range(BIG_BYTES // 1_000_000):
                block = rng.randbytes(1_000_000)
                digest.update(block)
                f.write(block)
        note.write_text(digest.hexdigest())
        os.replace(fresh, path)
    return path, note.read_text()


def sha256_of(path):
    digest = hashlib.sha256()
    with open(path, "rb") as f:
        while block := f.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


class Backends:
    """Everything that listens on the backend host, up when the constructor returns."""

    def __init__(self, net, big=True):
        self.net = net
        self.www = net.work / "www"
        (self.www / "up").mkdir(parents=True, exist_ok=True)
        (self.www / "index.html").write_text(f"<!doctype html><title>private</title><p>{PAGE_MARK}</p>\n")
        path = big_file()[0] if big else self.www / "index.html"
        config = net.work / "nginx.conf"
        config.write_text(NGINX.format(work=net.work, port=WEB_PORT, big=path))
        self.nginx = net.spawn("backend", "nginx", "-e", net.work / "nginx-error.log", "-c", config,
                               log=net.work / "nginx.log")
        self.echo = net.spawn("backend", PYTHON, INSIDE / "udp_echo.py", ECHO_PORT, log=net.work / "udp-echo.log")
        self.spoof = net.spawn("backend", PYTHON, INSIDE / "udp_echo.py", SPOOF_PORT, "--address4", BACKEND4,
                               "--other", BACKEND4_OTHER, log=net.work / "udp-spoof.log")
        self.tcp = net.spawn("backend", PYTHON, INSIDE / "tcp_server.py", TCP_FIRST, log=net.work / "tcp-server.log")
        for process in (self.echo, self.spoof, self.tcp):
            process.wait_log("ready")
        wait_for(lambda: net.listening("backend", "tcp", WEB_PORT), 10, lambda: f"nginx: {self.nginx.log()}")
        self.iperf = None

    def start_iperf(self):
        if self.iperf is None:
            self.iperf = self.net.spawn("backend", "iperf3", "-s", "-p", IPERF_PORT, log=self.net.work / "iperf3.log")
            wait_for(lambda: self.net.listening("backend", "tcp", IPERF_PORT), 10, "iperf3")

    def uploaded(self, name):
        return self.www / "up" / name


def client(net, host, program, *arguments, timeout=120):
    """Runs inside/PROGRAM in `host` and returns the JSON object that it prints."""
    return json.loads(net.run(host, PYTHON, INSIDE / program, *arguments, timeout=timeout))


def curl(net, host, url, *options, timeout=60):
    """CompletedProcess of curl -sS (fails on HTTP errors)."""
    return net.attempt(host, "curl", "-sS", "-f", "-m", timeout, *options, url, timeout=timeout + 10)


def ping(net, host, address, count=3, size=56, wait=2):
    """Shortest round trip in ms (what a busy machine adds is not the way's), or None when a reply is missing."""
    done = net.attempt(host, "ping", "-n", "-i", "0.2", "-c", count, "-s", size, "-W", wait, address)
    if done.returncode or f" {count} received" not in done.stdout:
        return None
    return float(done.stdout.rsplit("=", 1)[1].split("/")[0])


__all__ = ["Backends", "client", "curl", "ping", "big_file", "sha256_of", "PAGE_MARK"]
