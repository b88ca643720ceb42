#!/usr/bin/env python3
"""./dev demo: the whole system at work, in network namespaces of this machine. Removes everything at the end.

    demo.py [--keep]     --keep leaves it up and says how to enter each host; Enter or Ctrl-C then ends it
"""
import argparse
import pathlib
import signal
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/e2e"))
from ztna_net.backends import ECHO_PORT, PAGE_MARK, Backends, client, curl, ping  # noqa: E402
from ztna_net.capture import Capture  # noqa: E402
from ztna_net.configs import virtual4, virtual6  # noqa: E402
from ztna_net.pki import program  # noqa: E402
from ztna_net.processes import wait_for  # noqa: E402
from ztna_net.system import System  # noqa: E402
from ztna_net.topology import WAN_LEGS_MS, Network  # noqa: E402

import second_act  # noqa: E402

PICTURE = """
   agent1               nata            inet            natb             connector            backend
 +------------+      +-------+      +----------+      +-------+      +---------------+      +----------+
 | ztna-agent |------|  NAT  |------| internet |------|  NAT  |------| app-connector |------| nginx    |
 | curl, ping |      +-------+      +----------+      +-------+      | (as nobody)   |      | UDP echo |
 +------------+                          |                           +---------------+      +----------+
   10.10.1.2                   +---------------------+                  10.20.0.2             10.20.1.2
                               | intermediate-server |
                               +---------------------+
                                    198.18.3.2
"""
SERVICES = ("web", "echo", "lab")


class Failed(Exception):
    """A check did not show what it should."""


class Show:
    """Runs steps and prints a line each, with its time."""

    def __init__(self):
        self.failures = 0

    def step(self, title, action):
        """A part of the set-up; a failure ends the demo."""
        print(f"  {title} ... ", end="", flush=True)
        start = time.monotonic()
        value = action()
        print(f"{time.monotonic() - start:.1f} s", flush=True)
        return value

    def check(self, title, action):
        start = time.monotonic()
        try:
            found, good = action(), True
        except Exception as error:  # whatever breaks is the result of this check
            found, good = f"{type(error).__name__}: {error}", False
        self.failures += not good
        print(f"  [{'ok' if good else 'FAILED':^6}] {title:<62} {found:<33} in {1000 * (time.monotonic() - start):4.0f} ms",
              flush=True)


    def verdict(self, title, problems):
        """The result of something that has shown itself already; problems: "" if all was well."""
        self.failures += bool(problems)
        print(f"  [{'FAILED' if problems else 'ok':^6}] {title}{': ' + problems if problems else ''}", flush=True)


def require(condition, text):
    if not condition:
        raise Failed(text)


def page(net, url):
    done = curl(net, "agent1", url, timeout=10)
    require(PAGE_MARK in done.stdout, done.stderr.strip() or "not the page")
    return f"{len(done.stdout)} bytes"


def echo(net, address, size):
    done = client(net, "agent1", "udp_client.py", "sizes", address, ECHO_PORT, size)
    require(not done["bad"], str(done["bad"][:1]))
    quickest = min(r["ms"] for r in done["results"])
    return f"{len(done['results'])} came back equal, {quickest:.2f} ms"


def pinged(net, address, size):
    rtt = ping(net, "agent1", address, size=size)
    require(rtt is not None, "no reply")
    return f"3 replies, {rtt:.2f} ms"


def out_of_reach(net):
    done = curl(net, "agent1", "http://10.20.1.2/", "--connect-timeout", "1", timeout=2)
    require(done.returncode != 0, "the backend answered without a tunnel")
    return "unreachable, as it should be"


def watched_page(net, behind, middle):
    """Fetches the page once more while tcpdump watches both places."""
    with behind, middle:
        found = page(net, f"http://{virtual4('web')}/")
        behind.wait_contains(PAGE_MARK.encode())
        # Request and answer, there and back: the answer has crossed the relay before it was here.
        wait_for(lambda: middle.packets() >= 4, 5, "packets at the Intermediate")
    return found


def readable(capture):
    require(capture.contains(PAGE_MARK.encode()), "not found")
    return f"found, {capture.packets()} packets"


def unreadable(capture):
    require(not capture.contains(PAGE_MARK.encode()), "readable")
    return f"not found, {capture.packets()} packets"


def checks(show, net):
    print("\nWhat the agent host sees: everything over the relay, 20 ms away from either side")
    show.check("curl the backend directly, without the tunnel", lambda: out_of_reach(net))
    show.check(f"curl http://{virtual4('web')}/", lambda: page(net, f"http://{virtual4('web')}/"))
    show.check(f"curl http://[{virtual6('web')}]/", lambda: page(net, f"http://[{virtual6('web')}]/"))
    for size in (32, 1400, 65507):
        show.check(f"UDP echo {virtual4('echo')} port {ECHO_PORT}, {size} bytes", lambda s=size: echo(net, virtual4("echo"), s))
    show.check(f"UDP echo {virtual6('echo')} port {ECHO_PORT}, 1400 bytes", lambda: echo(net, virtual6("echo"), 1400))
    for address in (virtual4("web"), virtual6("web")):
        show.check(f"ping {address}, 56 bytes", lambda a=address: pinged(net, a, 56))
    show.check(f"ping {virtual4('web')}, 1400 bytes", lambda: pinged(net, virtual4("web"), 1400))
    print("\nWho can read it: tcpdump, searched for the text of the page")
    behind, middle = Capture(net, "backend", "eth0", "tcp port 80"), Capture(net, "intermediate", "wan", "udp")
    show.check(f"curl http://{virtual4('web')}/ once more, watched", lambda: watched_page(net, behind, middle))
    show.check(f'"{PAGE_MARK}" on the backend\'s link', lambda: readable(behind))
    show.check("the same at the Intermediate", lambda: unreadable(middle))


def direct_first(show, net, system):
    print("\nDirect first: the NATs may now be crossed, and a download runs while paths come and go\n"
          "(~ on the relay, = direct, ! nothing came; 0.15 s each)\n")
    problems, notes = second_act.play(net, system)
    for note in notes:
        print(f"  {note}")
    show.verdict("the download survived every change of path", problems)


def how_to_enter(net, system):
    print("\nIt stays up. Enter a host with")
    for host in net.hosts:
        print(f"  sudo ip netns exec {net.namespace(host)} bash")
    print(f"\nOn agent1 try\n  curl http://{virtual4('web')}/\n  {program('ztna-agent')} --config {system.agent.config_path} status")
    print(f"Config files, certificates and logs: {net.work}")
    print("Press Enter or Ctrl-C to remove everything.", flush=True)
    try:
        if sys.stdin.isatty():
            sys.stdin.readline()
        else:
            signal.pause()
    except KeyboardInterrupt:
        print()  # the way to end it, not a failure


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", action="store_true", help="leave it up until Enter or Ctrl-C")
    args = parser.parse_args()
    print(PICTURE)
    show, start = Show(), time.monotonic()
    print("Building it")
    network = Network(legs_ms=WAN_LEGS_MS)
    try:
        show.step("hosts, NATs and links with delay (network namespaces)", network.__enter__)
        network.block_direct(True)  # the first act is the relay's
        show.step("nginx and a UDP echo on the backend", lambda: Backends(network, big=False))
        system = show.step("certificates by ztnactl, config files", lambda: System(network, services=SERVICES))
        show.step("intermediate-server", lambda: system.intermediate.start().wait_ready())
        show.step("app-connector", lambda: system.connector.start().wait_ready())
        show.step("ztna-agent", lambda: system.agent.start().wait_ready())
        checks(show, network)
        direct_first(show, network, system)
        print(f"\n{'All checks passed' if not show.failures else f'{show.failures} checks FAILED'}, "
              f"{time.monotonic() - start:.1f} s in all.")
        if show.failures:
            for daemon in system.daemons:
                print(f"\n--- log of {daemon.kind}\n{daemon.log()[-3000:]}")
        if args.keep:
            how_to_enter(network, system)
    finally:
        # A second Ctrl-C must not leave half of it behind.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        print("Removing it ... ", end="", flush=True)
        network.down()
        print("done", flush=True)
    return 1 if show.failures else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("\nstopped")
        sys.exit(130)
    except (RuntimeError, AssertionError, OSError) as error:
        sys.exit(f"demo: {error}")
