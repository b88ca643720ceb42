// What unmap() chooses from.
#pragma once

#include <cstdint>
#include <string>

namespace ztna::apps {

void unmap_by_nat_pmp(std::uint16_t port);
void unmap_by_upnp(const std::string& description_url, std::uint16_t external_port);

}  // namespace ztna::apps
