"""The end-to-end rig: hosts, NATs and delays as network namespaces, and the real programs in them.

    topology.py   Network: namespaces, links, NATs, firewalls, blocking, counters
    nats.py       the kinds of NAT, as nftables rules; conntrack.py makes one forget
    built.py      small programs compiled on demand; leftovers.py removes what dead runs left
    processes.py  Process: a daemon in a host with its log; wait_for: polling with a deadline
    pki.py        Pki: certificates, made with ztnactl
    configs.py    the config files as a user would write them
    system.py     System: Intermediate, Connector and Agents, up and ready
    backends.py   nginx, the upload server, UDP echo, iperf3
    failover.py   a paced UDP echo and a checked download, for what a user notices while paths change
    paths.py      which way a tunnel goes, as the Agent says and as the network's counters say
    metrics.py    reading /metrics
    capture.py    tcpdump on a link
    stranger.py   a QUIC client without scruples (stranger/stranger.cc)
    inside/       small programs that run in a host

Used by tests/e2e and by ./dev demo.
"""
