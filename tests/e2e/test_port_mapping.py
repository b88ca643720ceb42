"""A port of the router, asked for by NAT-PMP or UPnP, leads to the Connector; the router runs Debian's miniupnpd.

    intermediate -- inet -- natb (miniupnpd) -- connector
"""
import shutil

import pytest
from ztna_net.metrics import matching, total
from ztna_net.processes import wait_for
from ztna_net.system import System
from ztna_net.topology import Network

pytestmark = pytest.mark.skipif(shutil.which("miniupnpd") is None, reason="miniupnpd is not installed")

PORT = 4434
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


def configuration(upnp, nat_pmp):
    yes = {True: "yes", False: "no"}
    return f"""
ext_ifname=wan
ext_ip={SAID}
listening_ip=lan
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
allow 1024-65535 10.20.0.0/24 1024-65535
deny 0-65535 0.0.0.0/0 0-65535
"""


def start_router(net, upnp, nat_pmp):
    net.nft("natb", CHAINS)
    path = net.work / "miniupnpd.conf"
    path.write_text(configuration(upnp, nat_pmp), encoding="utf-8")
    return net.spawn("natb", "miniupnpd", "-d", "-f", path, "-P", net.work / "miniupnpd.pid", log=net.work / "miniupnpd.log")


def mapped(net):
    return str(PORT) in net.run("natb", "nft", "list", "chain", "inet", "miniupnpd", "prerouting_miniupnpd")


def junk_seen(system):
    return total(matching(system.connector.metrics(), 'fate="junk"'), "ztna_connector_udp_payloads_total")


def knock(net):
    """A datagram of no known kind, from somebody whom the Connector never sent anything."""
    with net.socket("inet") as sender:
        sender.sendto(b"\x00knock", (net.public_address("natb"), PORT))


def test_without_a_mapping_nothing_comes_in():
    with Network() as net:
        start_router(net, upnp=True, nat_pmp=True)
        with System(net, agents=(), connector={"p2p": {"port": PORT, "port_mapping": False}}) as system:
            before = junk_seen(system)
            for _ in range(3):
                knock(net)
            assert not mapped(net)
            assert junk_seen(system) == before
            assert "port mapped by the router" not in system.connector.log()


@pytest.mark.parametrize("by", ["NAT-PMP", "UPnP"])
def test_a_mapped_port_leads_to_the_connector(by):
    with Network() as net:
        start_router(net, upnp=by == "UPnP", nat_pmp=by == "NAT-PMP")
        with System(net, agents=(), connector={"p2p": {"port": PORT}, "log_level": "debug"}) as system:
            system.connector.process.wait_log("port mapped by the router", 20)
            assert f"by={by}" in system.connector.log()
            assert f"external={SAID}:{PORT}" in system.connector.log()
            assert mapped(net)
            before = junk_seen(system)

            def arrived():
                knock(net)
                return junk_seen(system) > before
            wait_for(arrived, 5, "a datagram from outside at the Connector")
        wait_for(lambda: not mapped(net), 5, "the mapping given back at exit")
