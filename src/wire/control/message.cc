#include "wire/control/message.h"

namespace ztna::wire {
namespace {

/// Finds the alternative of `type` and parses it.
template <typename Variant, typename Message, typename... Rest>
Result<Variant> parse_as(std::uint8_t type, Bytes body) {
  if (type == static_cast<std::uint8_t>(Message::kType)) {
    auto message = Message::parse(body);
    if (!message) return fail(message.error());
    return Variant{std::move(*message)};
  }
  if constexpr (sizeof...(Rest) > 0) {
    return parse_as<Variant, Rest...>(type, body);
  } else {
    return fail(Errc::unknown_type, "message type {:#04x}", type);
  }
}

template <typename... Messages>
Result<std::variant<Messages...>> parse_any(std::uint8_t type, Bytes body, std::variant<Messages...>*) {
  return parse_as<std::variant<Messages...>, Messages...>(type, body);
}

}  // namespace

Result<ControlMessage> parse_control_message(std::uint8_t type, Bytes body) {
  return parse_any(type, body, static_cast<ControlMessage*>(nullptr));
}

Result<TunnelMessage> parse_tunnel_message(std::uint8_t type, Bytes body) {
  return parse_any(type, body, static_cast<TunnelMessage*>(nullptr));
}

void append_raw_frame(ByteVector& out, MessageType type, Bytes body) {
  Writer w{out};
  w.code(type);
  w.varint(body.size());
  w.bytes(body);
}

void append_frame(ByteVector& out, const Catalog& catalog) {
  constexpr std::size_t kMaxCount = 4;  // octets of the count: a body has room for fewer than 2^30 entries
  ByteVector entries;
  std::uint64_t count = 0;
  const auto send = [&](bool last) {
    ByteVector body;
    Writer w{body};
    w.u8(last ? 1 : 0);
    w.varint(count);
    w.bytes(entries);
    append_raw_frame(out, MessageType::catalog, body);
    entries.clear();
    count = 0;
  };
  for (const auto& entry : catalog.entries) {
    const auto before = entries.size();
    Writer w{entries};
    w.string8(entry.service.str());
    write_virtual_ips(w, entry.virtual_ips);
    if (1 + kMaxCount + entries.size() > kMaxBody) {
      const ByteVector overflow{entries.begin() + static_cast<std::ptrdiff_t>(before), entries.end()};
      entries.resize(before);
      send(false);
      entries = overflow;
    }
    ++count;
  }
  send(catalog.last);
}

void append_frame(ByteVector& out, const ControlMessage& message) {
  std::visit([&](const auto& m) { append_frame(out, m); }, message);
}

void append_frame(ByteVector& out, const TunnelMessage& message) {
  std::visit([&](const auto& m) { append_frame(out, m); }, message);
}

}  // namespace ztna::wire
