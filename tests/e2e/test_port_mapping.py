"""A port of the router, asked for by NAT-PMP or UPnP, leads to the Connector or the Agent behind it; the router runs
Debian's miniupnpd.

    agent1 -- nata (miniupnpd) -- inet -- natb (miniupnpd) -- connector
                                   |
                             intermediate
"""
import json
import shutil
import signal
from dataclasses import dataclass

import pytest
from ztna_net.metrics import matching, total
from ztna_net.processes import wait_for
from ztna_net.system import System
from ztna_net.topology import Network

pytestmark = pytest.mark.skipif(shutil.which("miniupnpd") is None, reason="miniupnpd is not installed")

PORT = 4434


@dataclass(frozen=True)
class End:
    """A program behind a router, and what its config file calls the switch."""
    kind: str
    host: str
    router: str
    inside: str  # the router's interface to it
    network: str
    switch: str

    def configured(self, **p2p):
        return {self.kind: {"p2p": {"port": PORT, **p2p}, **({"log_level": "debug"} if self.kind == "connector"
                                                             else {"logLevel": "debug"})}}

    def daemon(self, system):
        return getattr(system, self.kind)


ENDS = (End("connector", "connector", "natb", "lan", "10.20.0.0/24", "port_mapping"),
        End("agent", "agent1", "nata", "lan1", "10.10.1.0/24", "portMapping"))
SAID = "11.0.0.1"  # what the router says that its address is: it refuses to work with the reserved one that it has
CHAINS = """
table inet filter {
  chain miniupnpd { }
}
table inet miniupnpd {
  chain prerouting_miniupnpd { }
  chain postrouting_miniupnpd { }
  chain pre {
    type nat hook prerouting priority dstnat - 1;
    jump prerouting_miniupnpd
  }
}
"""


def configuration(end, upnp, nat_pmp):
    yes = {True: "yes", False: "no"}
    return f"""
ext_ifname=wan
ext_ip={SAID}
listening_ip={end.inside}
http_port=0
enable_upnp={yes[upnp]}
enable_natpmp={yes[nat_pmp]}
upnp_table_name=filter
upnp_nat_table_name=miniupnpd
upnp_forward_chain=miniupnpd
upnp_nat_chain=prerouting_miniupnpd
upnp_nat_postrouting_chain=postrouting_miniupnpd
secure_mode=yes
system_uptime=yes
uuid=45ebded4-f8f0-4dd1-838b-a51dd5c59879
allow 1024-65535 {end.network} 1024-65535
deny 0-65535 0.0.0.0/0 0-65535
"""


def start_router(net, end, upnp, nat_pmp):
    net.nft(end.router, CHAINS)
    path = net.work / "miniupnpd.conf"
    path.write_text(configuration(end, upnp, nat_pmp), encoding="utf-8")
    return net.spawn(end.router, "miniupnpd", "-d", "-f", path, "-P", net.work / "miniupnpd.pid",
                     log=net.work / "miniupnpd.log")


def mapped(net, end):
    return str(PORT) in net.run(end.router, "nft", "list", "chain", "inet", "miniupnpd", "prerouting_miniupnpd")


def junk_seen(system, end):
    return total(matching(end.daemon(system).metrics(), 'fate="junk"'), f"ztna_{end.kind}_udp_payloads_total")


def knock(net, end):
    """A datagram of no known kind, from somebody whom the program never sent anything."""
    with net.socket("inet") as sender:
        sender.sendto(b"\x00knock", (net.public_address(end.router), PORT))


def system_of(net, end, **p2p):
    return System(net, agents=("agent1",) if end.kind == "agent" else (), **end.configured(**p2p))


def candidates(system):
    status = system.agent.command("status", "--json")
    nat = json.loads(system.net.run("agent1", *status))["nat"]
    return {(c["kind"], c["address"]) for c in nat["candidates"]}


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.kind)
def test_without_a_mapping_nothing_comes_in(end):
    with Network() as net:
        start_router(net, end, upnp=True, nat_pmp=True)
        with system_of(net, end, **{end.switch: False}) as system:
            before = junk_seen(system, end)
            for _ in range(3):
                knock(net, end)
            assert not mapped(net, end)
            assert junk_seen(system, end) == before
            assert "port mapped by the router" not in end.daemon(system).log()


@pytest.mark.parametrize("by", ["NAT-PMP", "UPnP"])
@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.kind)
def test_a_mapped_port_leads_to_the_program(end, by):
    with Network() as net:
        start_router(net, end, upnp=by == "UPnP", nat_pmp=by == "NAT-PMP")
        with system_of(net, end) as system:
            daemon = end.daemon(system)
            daemon.process.wait_log("port mapped by the router", 20)
            assert f"by={by}" in daemon.log()
            assert f"external={SAID}:{PORT}" in daemon.log()
            assert mapped(net, end)
            if end.kind == "agent":
                wait_for(lambda: ("port_mapped", f"{SAID}:{PORT}") in candidates(system), 5,
                         lambda: f"the mapped port among {candidates(system)}")
            before = junk_seen(system, end)

            def arrived():
                knock(net, end)
                return junk_seen(system, end) > before
            wait_for(arrived, 5, "a datagram from outside at the program")
        wait_for(lambda: not mapped(net, end), 5, "the mapping given back at exit")


def test_a_reload_that_switches_it_off_gives_the_port_back():
    end = ENDS[1]
    with Network() as net:
        start_router(net, end, upnp=False, nat_pmp=True)
        with system_of(net, end) as system:
            system.agent.process.wait_log("port mapped by the router", 20)
            wait_for(lambda: ("port_mapped", f"{SAID}:{PORT}") in candidates(system), 5, "the mapped port offered")
            config = json.loads(system.agent.config_path.read_text(encoding="utf-8"))
            config["p2p"]["portMapping"] = False
            system.agent.configure(config)
            system.agent.process.signal(signal.SIGHUP)
            wait_for(lambda: not mapped(net, end), 5, "the mapping given back")
            wait_for(lambda: "port_mapped" not in {kind for kind, _ in candidates(system)}, 5, "the candidate gone")
