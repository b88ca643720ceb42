"""The failover harness measures what it says: known cuts of a known length, on the relayed path.

    agent1 -- nata ==7.5 ms== inet ==7.5 ms== natb -- connector -- backend
                               ||
                             7.5 ms
                               ||
                          intermediate
"""
import time

import pytest
from ztna_net.backends import Backends, ping
from ztna_net.configs import virtual4
from ztna_net.failover import Download, Echoes, Meter, event, legs_for, percentiles, seconds
from ztna_net.paths import measured_path, path_of, quick_status, status
from ztna_net.processes import wait_for
from ztna_net.system import System
from ztna_net.topology import ADDRESS, INTERMEDIATE4, Network

pytestmark = pytest.mark.alone
MS = 1_000_000


def pause(length):
    """The measured time itself; nothing is waited for."""
    until = time.monotonic() + length
    wait_for(lambda: time.monotonic() >= until, length + 1, "the clock")


def even(numbers, rtt=30 * MS, lost=(), twice=()):
    return Echoes([(n * MS, 0 if n in lost else n * MS + rtt, 0, 0 if n in lost else 2 if n in twice else 1)
                   for n in numbers])


def test_gaps_losses_and_duplicates_are_found():
    """Arithmetic, on an even stream with a hole."""
    echoes = even(range(1000), lost=range(300, 400), twice=(7,))
    assert echoes.gap().ms == 101 and echoes.gap().begin == 299 * MS + 30 * MS
    assert echoes.lost() == [n * MS for n in range(300, 400)] and echoes.duplicates() == [7 * MS]
    assert echoes.gap(500 * MS, 900 * MS).ms == 1 and not echoes.lost(400 * MS, 900 * MS)
    assert echoes.gap(350 * MS, 351 * MS).ms == 101, "a window inside the silence must show all of it"
    assert echoes.rtt_ms() == 30 and echoes.stall_ms() == 1
    assert even([]).gap() is None and even([1]).gap() is None
    assert percentiles([5, 1, 4, 2, 3], (50, 90, 100)) == {50: 3, 90: 5, 100: 5}


@pytest.fixture(scope="module")
def relayed():
    with Network(legs_ms=legs_for(30), ipv6=False) as net:
        Backends(net)
        net.block_direct(True)
        with System(net, services=("web", "lab")) as system:
            assert ping(net, "agent1", virtual4("lab"), count=1)  # the tunnel opens with the first packet
            yield system


def plain_meter(net):
    """Without any tunnel: between agent1 and the Intermediate's host there is nothing but the network."""
    return Meter(net, INTERMEDIATE4, server="intermediate")


@pytest.mark.parametrize("length", [0.12, 0.7])
def test_a_cut_of_known_length_is_measured(relayed, length):
    """Nothing crosses the Intermediate's link for `length` seconds: that is the gap, give or take a few ms."""
    net = relayed.net
    rule = 'table inet cut {\n chain forward { type filter hook forward priority -20;\n oifname "to-i" drop\n }\n}\n'
    with plain_meter(net) as meter:
        pause(0.3)
        cut = event(lambda: net.nft("inet", rule))
        pause(length)
        back = event(lambda: net.nft("inet", "delete table inet cut\n"))
        pause(0.3)
        echoes = meter.echoes()
    gap, shortest, longest = echoes.gap(cut.at, back.done), (back.at - cut.done) / 1e6, (back.done - cut.at) / 1e6
    slack = 10 + echoes.stall_ms()
    print(f"cut for {shortest:.0f} to {longest:.0f} ms: gap {gap.ms:.0f} ms, sender's stall {echoes.stall_ms():.0f} ms")
    assert shortest - slack <= gap.ms <= longest + slack
    assert shortest - slack <= len(echoes.lost()) <= longest + slack
    assert not echoes.lost(None, cut.at - seconds(0.05)) and not echoes.lost(back.done + seconds(0.05))
    assert not echoes.duplicates() and echoes.foreign == 0
    assert 29.5 <= echoes.quickest_ms() <= 40


def test_delay_and_loss_of_a_leg_change_while_it_runs(relayed):
    net = relayed.net
    with plain_meter(net) as meter:
        slow = event(lambda: net.set_leg("intermediate", 32.5))
        pause(0.6)
        lossy = event(lambda: net.set_leg("intermediate", 7.5, 0.05))
        pause(2.0)
        clean = event(lambda: net.set_leg("intermediate", 7.5))
        pause(0.5)
        echoes = meter.echoes()
    assert 79.5 <= echoes.quickest_ms(slow.done + seconds(0.1), lossy.at - seconds(0.1)) <= 90
    assert 29.5 <= echoes.quickest_ms(clean.done + seconds(0.1)) <= 40
    lost = len(echoes.lost(lossy.done, clean.at)) / len(echoes.window(lossy.done, clean.at))
    assert 0.06 <= lost <= 0.14, f"{lost} instead of two crossings at 5 %"
    assert not echoes.lost(clean.done + seconds(0.1))


def test_a_link_that_doubles_packets_is_found(relayed):
    """A duplicate to the application is counted, whoever made it."""
    net = relayed.net
    net.nft("inet", f'table ip twice {{\n chain forward {{ type filter hook forward priority -20;\n'
                    f' udp sport 7020 dup to {ADDRESS["nata"][0]} device "to-a"\n }}\n}}\n')
    try:
        with plain_meter(net) as meter:
            pause(0.3)
            echoes = meter.echoes()
    finally:
        net.nft("inet", "delete table ip twice\n")
    assert len(echoes.duplicates()) > 100 and not echoes.lost()


def test_echoes_through_the_tunnel(relayed):
    with Meter(relayed.net, virtual4("lab")) as meter:
        pause(1.0)
        echoes = meter.echoes()
    assert not echoes.lost() and not echoes.duplicates() and 59.5 <= echoes.quickest_ms() <= 75, echoes.summary()


def test_download_is_checked_octet_by_octet(relayed):
    with Download(relayed.net, virtual4("web"), 3_000_000, 3_000_000) as download:
        done = download.finish()
        assert 0.9 < done["seconds"] < 6 and done["longest_wait_ms"] < 1000, done
    with Download(relayed.net, virtual4("web"), 3_000_000, 3_000_000) as download:
        download.digest = "0" * 64
        with pytest.raises(AssertionError, match="wrong octets"):
            download.finish()


def test_download_that_stalls_is_found(relayed):
    with Download(relayed.net, virtual4("web"), 60_000_000, 3_000_000, patience=1) as download:
        download.wait_progress(5)
        relayed.connector.process.kill9()
        with pytest.raises(AssertionError, match="broke"):
            download.finish()
    relayed.connector.start().wait_ready()


def test_paths_by_counters_and_by_the_agent(relayed):
    net = relayed.net
    before = net.counters("packets")
    assert measured_path(net, before, before) == ""
    with Meter(net, virtual4("lab")) as meter:
        pause(0.5)
        assert path_of(quick_status(relayed.agent)) == path_of(status(relayed.agent)) == "relay"
        meter.echoes()
    assert measured_path(net, before, net.counters("packets")) == "relay"
    # What two readings would show of a direct or a changing tunnel.
    assert measured_path(net, {"direct": 0, "relayed": 0}, {"direct": 100, "relayed": 4}) == "direct"
    assert measured_path(net, {"direct": 0, "relayed": 0}, {"direct": 100, "relayed": 100}) == "mixed"
