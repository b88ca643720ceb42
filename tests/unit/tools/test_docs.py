"""The pages keep step with the code: every packet fate and every metric that the code declares has its line.

Reads the sources as text; nothing is built or run.
"""
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]
FATES = ROOT / "docs/life-of-a-packet.md"
METRICS = ROOT / "docs/metrics.md"

# Heading on the page -> where its enum is.
FATE_ENUMS = {
    "TunFate": "agent/packet_fate.h",
    "TunnelFate": "agent/packet_fate.h",
    "ReassemblyFate": "agent/reassembly.h",
    "DatagramFate": "tunnel/datagram_channel.h",
    "UdpFate": "tunnel/hub.h",
    "PunchFate": "tunnel/punching.h",
    "ProbeFate": "path/punch_session.h",
    "NatDiscovery::Fate": "path/nat_discovery.h",
    "quic::PacketFate": "quic/endpoint.h",
    "RelayFate": "intermediate/relay.h",
    "InputFate": "intermediate/worker.h",
    "intermediate::ProbeFate": "intermediate/probe_responder.h",
    "connector::PacketFate": "connector/packet_fate.h",
    "StreamFate": "connector/packet_fate.h",
}
# Other enums that label metrics: their members stand in backticks on the metrics page.
LABEL_ENUMS = {
    "TunnelEvent": "agent/tunnels.h",
    "RegistrationEvent": "agent/registrar.h",
    "SessionEnd": "intermediate/control_session.h",
    "TunnelEnd": "connector/tunnel_end.h",
    "Rejection": "intermediate/registry.h",
    "PathReportEnd": "intermediate/registry.h",
    "SignalingEnd": "intermediate/signaling.h",
    "SignalingRefusal": "intermediate/signaling.h",
    "IdentityFault": "identity/identity.h",
}


def without_comments(text):
    return re.sub(r"//[^\n]*|/\*.*?\*/", "", text, flags=re.S)


def enumerators(text, name):
    """Members of `enum class NAME` in a source text, without the closing count_."""
    body = re.search(rf"\benum\s+class\s+{name}\b[^{{;]*{{([^}}]*)}}", without_comments(text))
    assert body, f"no enum class {name}"
    members = [re.sub(r"=.*", "", part, flags=re.S).strip() for part in body[1].split(",")]
    return [member for member in members if member and member != "count_"]


def of_enum(name, file):
    members = enumerators((ROOT / "src" / file).read_text(), name.split("::")[-1])
    assert members, f"{file}: {name} has no members"
    return members


def sections(text):
    """Headings of the third level ("### TunFate: ...") -> what the table beneath has in its first column."""
    found = {}
    for part in re.split(r"^### ", text, flags=re.M)[1:]:
        name = re.match(r"(?:\w+::)?\w+", part)[0]
        part = re.split(r"^##? ", part, flags=re.M)[0]
        found[name] = re.findall(r"^\| `(\w+)` \| \S.* \|$", part, flags=re.M)
    return found


def declared_metrics():
    """Metric names in the sources: every string literal that is one."""
    names = set()
    for file in sorted((ROOT / "src").rglob("*.cc")) + sorted((ROOT / "src").rglob("*.h")):
        names.update(re.findall(r'"(ztna_[a-z0-9_]+)"', without_comments(file.read_text())))
    return names


def test_the_reader_of_enums():
    text = """enum class Other : int { x };
              enum class Fate : std::uint8_t {
                sent,  // a comment, with a comma and }
                lost = 3, /* { */
                count_
              };"""
    assert enumerators(text, "Fate") == ["sent", "lost"]
    assert enumerators("enum class Fate : int { a, b, count_ };", "Fate") == ["a", "b"]
    with pytest.raises(AssertionError):
        enumerators(text, "Missing")


def test_the_reader_of_tables():
    text = "### A: one\n| fate | meaning |\n|---|---|\n| `x` | y |\n| `no_meaning` |  |\n### b::C: two\n| `z` | y |\n## End\n| `q` | y |\n"
    assert sections(text) == {"A": ["x"], "b::C": ["z"]}


@pytest.mark.parametrize("name,file", FATE_ENUMS.items())
def test_every_fate_is_on_the_page(name, file):
    listed = sections(FATES.read_text()).get(name)
    assert listed, f"{FATES.name} has no table under '### {name}'"
    assert listed == of_enum(name, file), f"{FATES.name}: the table of {name} is not {file}'s list, in its order"


def test_every_fate_enum_is_known_here():
    """A new enum that counts fates needs a table, and a row in FATE_ENUMS."""
    known = {(name.split("::")[-1], file) for name, file in FATE_ENUMS.items()}
    found = set()
    for file in (ROOT / "src").rglob("*.h"):
        for name in re.findall(r"\benum\s+class\s+(\w*Fate)\b", without_comments(file.read_text())):
            found.add((name, str(file.relative_to(ROOT / "src"))))
    assert found == known


@pytest.mark.parametrize("name,file", LABEL_ENUMS.items())
def test_every_label_is_on_the_page(name, file):
    words = set(re.findall(r"`(\w+)`", METRICS.read_text()))
    missing = [member for member in of_enum(name, file) if member not in words]
    assert not missing, f"{METRICS.name} lacks labels of {name}: {missing}"


def test_every_metric_is_on_the_page_and_no_other():
    listed = re.findall(r"^\| `(ztna_[a-z0-9_]+)` \| (?:counter|gauge) \| .*\S \|$", METRICS.read_text(), flags=re.M)
    assert len(listed) == len(set(listed)), "a metric has two rows"
    assert set(listed) == declared_metrics()


@pytest.mark.parametrize("page", sorted(path.relative_to(ROOT).as_posix() for path in
                                        [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]))
def test_links_lead_to_files(page):
    folder = (ROOT / page).parent
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", (ROOT / page).read_text()):
        if not re.match(r"[a-z]+:", target):
            assert (folder / target).exists(), f"{page}: {target}"


@pytest.mark.parametrize("page", ["docs/life-of-a-packet.md", "docs/architecture.md", "docs/metrics.md"])
def test_files_that_are_named_exist(page):
    names = re.findall(r"`((?:agent|apps|connector|identity|intermediate|os|quic|tunnel|wire)/[\w/.-]+\.(?:h|cc))`",
                       (ROOT / page).read_text())
    assert [name for name in names if not (ROOT / "src" / name).exists()] == []
