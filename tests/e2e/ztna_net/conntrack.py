"""Makes a NAT forget: deletes every IPv4 entry of the connection tracking table of the namespace it runs in."""
import socket
import struct

NETLINK_NETFILTER = 12
NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_DELETE = 1, 2
NLM_F_REQUEST, NLM_F_ACK, NLMSG_ERROR = 1, 4, 2


def forget_all():
    """Deletes the entries at once; what is sent afterwards finds none of them."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as s:
        s.bind((0, 0))
        # Without attributes: all of them. Version 1: of the named family only.
        body = struct.pack("!BBH", socket.AF_INET, 1, 0)
        head = struct.pack("=IHHII", 16 + len(body), NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE,
                           NLM_F_REQUEST | NLM_F_ACK, 1, 0)
        s.send(head + body)
        answer = s.recv(4096)
        _, kind = struct.unpack_from("=IH", answer)
        code, = struct.unpack_from("=i", answer, 16)
        if kind != NLMSG_ERROR or code != 0:
            raise OSError(-code, "conntrack flush")
