// Writes the fuzzers' seeds from the golden bytes of the unit tests: make_corpus DIRECTORY (tests/fuzz/corpus).
#include <filesystem>
#include <fstream>

#include "unit/wire/golden.h"

namespace golden = ztna::wire::golden;
using ztna::ByteVector;

namespace {

void put(const std::filesystem::path& file, const ByteVector& octets) {
  std::filesystem::create_directories(file.parent_path());
  std::ofstream out{file, std::ios::binary};
  out << ztna::as_text(octets);
}

template <typename List>
void put_messages(const std::filesystem::path& directory, const List& list) {
  for (const auto& g : list) {
    auto octets = golden::hex(g.frame);
    octets.erase(octets.begin() + 1);  // the length: one octet in all of them
    put(directory / g.name, octets);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const std::filesystem::path root{argv[1]};
  put_messages(root / "control_message", golden::control());
  put_messages(root / "tunnel_message", golden::tunnel());
  ByteVector stream{0};
  for (const auto& g : golden::control()) {
    const auto frame = golden::hex(g.frame);
    stream.insert(stream.end(), frame.begin(), frame.end());
  }
  put(root / "framer" / "all_by_one", stream);
  stream[0] = 255;
  put(root / "framer" / "all_by_256", stream);
  put(root / "routed_datagram" / golden::kRelayDatagram.name, golden::hex(golden::kRelayDatagram.octets));
  put(root / "routed_datagram" / golden::kTunnelDatagram.name, golden::hex(golden::kTunnelDatagram.octets));
  for (const auto& g : {golden::kTunnelDatagram, golden::kFirstPart, golden::kLastPart}) {
    put(root / "tunnel_datagram" / g.name, golden::hex(g.octets));
  }
  put(root / "stream_header" / golden::kStreamHeader.name, golden::hex(golden::kStreamHeader.octets));
  for (const auto& g : golden::probes()) put(root / "probe" / g.name, golden::hex(g.octets));
  for (const auto& g : golden::kIpPackets) put(root / "ip_packet" / g.name, golden::hex(g.octets));
  return 0;
}
