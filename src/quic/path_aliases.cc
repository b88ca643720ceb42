#include "quic/path_aliases.h"

#include <algorithm>
#include <array>

namespace ztna::quic {

namespace {

/// On no wire, and no route of the relay (tunnel/relay_paths.h).
IpAddress made_up(std::uint64_t number) {
  std::array<std::uint8_t, 16> octets{0xfd, 0x7a, 0x74, 0x6e, 0x61, 0x01};
  for (unsigned i = 0; i < 8; ++i) octets[8 + i] = static_cast<std::uint8_t>(number >> (56U - 8U * i));
  return IpAddress::v6(octets);
}

}  // namespace

const PathAliases::Entry* PathAliases::find(const Path& real, const Cid& id) {
  tentative_.reset();
  const auto matches = [&](const Entry& e) { return e.id == id && e.real == real; };
  if (last_ != nullptr && matches(*last_)) {
    last_->used = ++clock_;
    return last_;
  }
  for (auto& entry : entries_) {
    if (!matches(*entry)) continue;
    last_ = entry.get();
    last_->used = ++clock_;
    return last_;
  }
  return nullptr;
}

const PathAliases::Entry& PathAliases::add(const Path& real, const Cid& id, bool anew) {
  tentative_ = std::make_unique<Entry>();
  tentative_->real = real;
  tentative_->id = id;
  tentative_->used = ++clock_;
  auto shown = real;
  // As the path was shown last, or ngtcp2 would take any further id for another address.
  const Entry* before = nullptr;
  for (const auto& entry : entries_) {
    if (entry->real == real && (before == nullptr || entry->used > before->used)) before = entry.get();
  }
  if (before != nullptr) shown.remote.ip = anew ? made_up(next_address_++) : from_ngtcp2(before->shown.path).remote.ip;
  // The first path keeps its port: ngtcp2 knows it from the handshake.
  to_storage(shown, tentative_->shown);
  while (!entries_.empty() && (shown.remote.port == real.remote.port || shown_anywhere(tentative_->shown.path))) {
    shown.remote.port = next_port_++;
    to_storage(shown, tentative_->shown);
  }
  return *tentative_;
}

void PathAliases::keep(const ngtcp2_path& current) {
  if (!tentative_) return;
  if (entries_.size() >= kMax) {
    auto oldest = entries_.end();
    for (auto it = entries_.begin(); it != entries_.end(); ++it) {
      if (ngtcp2_path_eq(&(*it)->shown.path, &current) != 0) continue;
      if (oldest == entries_.end() || (*it)->used < (*oldest)->used) oldest = it;
    }
    if (oldest->get() == last_) last_ = nullptr;
    entries_.erase(oldest);
  }
  last_ = tentative_.get();
  entries_.push_back(std::move(tentative_));
}

const Path* PathAliases::real(const ngtcp2_path& shown) const {
  for (const auto& entry : entries_) {
    if (ngtcp2_path_eq(&entry->shown.path, &shown) != 0) return &entry->real;
  }
  return nullptr;
}

bool PathAliases::shown_anywhere(const ngtcp2_path& path) const { return real(path) != nullptr; }

}  // namespace ztna::quic
