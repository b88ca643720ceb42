"""Which way a tunnel goes: as the Agent says, and as the counters of the network say."""
import json
import socket
import time

from .pki import program
from .processes import wait_for


def status(daemon):
    """What `ztna-agent status --json` says of a running Agent (a Daemon)."""
    done = daemon.net.attempt(daemon.host, program("ztna-agent"), "--config", daemon.config_path, "status", "--json")
    assert done.returncode == 0, f"status: {done.stderr or done.stdout}"
    return json.loads(done.stdout)


def quick_status(daemon):
    """The same by the control socket, without starting a program; None when nobody answers."""
    path = json.loads(daemon.config_path.read_text())["controlSocket"]
    try:
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(2)
            s.connect(path)
            s.sendall(b'{"command":"status"}\n')
            data = b""
            while not data.endswith(b"\n"):
                piece = s.recv(65536)
                if not piece:
                    return None
                data += piece
    except OSError:
        return None
    return json.loads(data)["status"]


def path_of(found):
    """"relay", "direct" or "" (no tunnel) of the first tunnel in a status."""
    tunnels = (found or {}).get("tunnels") or []
    return tunnels[0].get("path", "") if tunnels else ""


def wait_path(daemon, wanted, within):
    """Waits until the Agent says that its tunnel is on that path; returns the seconds it took."""
    start = time.monotonic()
    wait_for(lambda: path_of(quick_status(daemon)) == wanted, within,
             lambda: f"path {wanted!r}: {json.dumps(quick_status(daemon), indent=1)}\n{daemon.log()[-3000:]}")
    return time.monotonic() - start


def measured_path(net, before, after):
    """"relay", "direct" or "mixed" by two readings of Network.counters("packets") around a transfer; "" for silence."""
    direct, relayed = (after[k] - before[k] for k in ("direct", "relayed"))
    relayed /= 2  # each relayed packet crosses the Intermediate's link twice
    if direct + relayed < 20:
        return ""
    share = direct / (direct + relayed)
    return "direct" if share > 0.9 else "relay" if share < 0.1 else "mixed"


__all__ = ["measured_path", "path_of", "quick_status", "status", "wait_path"]
