"""Reading a daemon's HTTP endpoints from inside its host."""
import re

SERIES = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{[^}]*\})?\s+(\S+)")


def http_get(net, host, port, path):
    """(status, body); (0, "") where nobody answers."""
    done = net.attempt(host, "curl", "-s", "-m", "3", "-o", "-", "-w", "\n%{http_code}", f"http://127.0.0.1:{port}{path}")
    body, _, status = done.stdout.rpartition("\n")
    return (int(status) if status.isdigit() else 0), body


def scrape(net, host, port):
    """{series: value}, with the labels in the key as they stand: `name{reason="x"}`."""
    status, body = http_get(net, host, port, "/metrics")
    assert status == 200, f"/metrics of {host}:{port}: status {status}"
    found = {}
    for line in body.splitlines():
        match = SERIES.match(line)
        if match:
            found[match[1] + (match[2] or "")] = float(match[3])
    return found


def total(series, name):
    """Sum of a metric over all of its labels."""
    values = [v for k, v in series.items() if k == name or k.startswith(name + "{")]
    assert values, f"no metric {name}; there are: {', '.join(sorted(series))}"
    return sum(values)


def matching(series, pattern):
    """{series: value} whose name or labels contain the regular expression."""
    return {k: v for k, v in series.items() if re.search(pattern, k)}


def increases(before, after):
    """{series: growth} of what grew."""
    return {k: v - before.get(k, 0) for k, v in after.items() if v > before.get(k, 0)}
