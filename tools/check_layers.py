#!/usr/bin/env python3
"""Holds the source to the layers of docs/architecture.md; exits 1 with file:line for each breach.

    base <- wire <- {identity, path, quic} <- tunnel <- {agent, intermediate, connector} <- apps
    os, http, config <- base, used by apps (and by each other not at all)

Also: no clock (`::now(`), socket or thread outside os and apps, and no sleep in tests.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent

MAY_INCLUDE = {
    "base": set(),
    "wire": {"base"},
    "identity": {"base", "wire"},
    "path": {"base", "wire"},
    "quic": {"base", "wire"},
    "tunnel": {"base", "wire", "identity", "path", "quic"},
    "agent": {"base", "wire", "identity", "path", "quic", "tunnel"},
    "intermediate": {"base", "wire", "identity", "path", "quic", "tunnel"},
    "connector": {"base", "wire", "identity", "path", "quic", "tunnel"},
    "os": {"base"},
    "http": {"base"},
    "config": {"base"},
}
MAY_INCLUDE["apps"] = set(MAY_INCLUDE)
IMPURE = {"os", "apps"}  # may read clocks and call the kernel
NETWORKED = {"os", "apps", "http"}

INCLUDE = re.compile(r'^\s*#\s*include\s*["<]([^">]+)[">]')
CLOCK = re.compile(r"::now\(")
KERNEL_HEADERS = re.compile(
    r"^(sys/(socket|epoll|ioctl|mman|timerfd|eventfd|select|un)\.h|poll\.h|unistd\.h|fcntl\.h|netdb\.h|net/if.*|"
    r"linux/.*|pthread\.h|thread|boost/asio.*)$")
SLEEP = re.compile(r"sleep_for|sleep_until|\b(u|nano)?sleep\(|time\.sleep\(")
PAUSE_ALLOWED = "lint: polling pause"  # on a line that paces or polls under a deadline


def code_of(line):
    """The line without a // comment (good enough: no literal of ours holds one with these words)."""
    return line.split("//", 1)[0]


def check_source(path, breaches):
    layer = path.relative_to(ROOT / "src").parts[0]
    if layer not in MAY_INCLUDE:
        breaches.append(f"{path.relative_to(ROOT)}: src/{layer} is no layer of docs/architecture.md")
        return
    for number, line in enumerate(path.read_text().splitlines(), 1):
        where = f"{path.relative_to(ROOT)}:{number}"
        include = INCLUDE.match(line)
        if include:
            target = include[1].split("/", 1)[0]
            if target in MAY_INCLUDE and "/" in include[1] and target != layer and target not in MAY_INCLUDE[layer]:
                breaches.append(f"{where}: {layer} must not include {include[1]}")
            if layer not in NETWORKED and KERNEL_HEADERS.match(include[1]):
                breaches.append(f"{where}: {layer} is sans-IO and must not include <{include[1]}>")
        elif layer not in IMPURE and CLOCK.search(code_of(line)):
            breaches.append(f"{where}: time is passed in; ::now( belongs to os and apps")


def check_test(path, breaches):
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if SLEEP.search(code_of(line)) and PAUSE_ALLOWED not in line:
            breaches.append(f"{path.relative_to(ROOT)}:{number}: no sleeps in tests: virtual time, or wait for the event")


def main():
    breaches = []
    sources = [p for p in sorted((ROOT / "src").rglob("*")) if p.suffix in (".h", ".cc")]
    for path in sources:
        check_source(path, breaches)
    tests = [p for p in sorted((ROOT / "tests").rglob("*")) if p.suffix in (".h", ".cc", ".py")]
    for path in tests:
        check_test(path, breaches)
    print("\n".join(breaches) if breaches else f"layers: {len(sources)} sources and {len(tests)} test files in order")
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main())
