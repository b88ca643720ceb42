// Virtual addresses of services outlive a restart: one line a service, "id address [address]".
#include <algorithm>
#include <sstream>

#include "apps/intermediate-server/server.h"
#include "base/log.h"
#include "os/clock.h"
#include "os/files.h"

namespace ztna::apps {
namespace {

constexpr std::size_t kMaxFile = 8U << 20U;

std::string path_in(const std::string& directory) { return directory + "/addresses"; }

}  // namespace

void Server::restore_addresses() {
  const auto path = path_in(run_.config.state_dir);
  const auto text = os::read_file(path, kMaxFile);
  if (!text) return;  // first start
  std::istringstream lines{*text};
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words{line};
    std::string id;
    words >> id;
    const auto service = wire::ServiceId::parse(id);
    wire::VirtualIps addresses;
    for (std::string word; words >> word;) {
      if (const auto address = IpAddress::parse(word)) addresses.push_back(*address);
    }
    if (service) {
      registry_->restore(*service, addresses);
    } else {
      log::warn("skipped a line of the state file", {{"file", path}});
    }
  }
  saved_addresses_ = *text;
}

void Server::save_addresses() {
  save_timer_->set(os::now() + 1s);
  auto all = registry_->addresses();
  std::ranges::sort(all, {}, [](const auto& entry) { return entry.first.str(); });
  std::string text;
  for (const auto& [service, addresses] : all) {
    text += service.str();
    for (const auto& address : addresses) {
      text += ' ';
      text += to_string(address);
    }
    text += "\n";
  }
  if (text == saved_addresses_) return;
  saved_addresses_ = text;
  const auto& directory = run_.config.state_dir;
  auto written = os::create_directories(directory, 0700);
  if (written) written = os::write_file_atomic(path_in(directory), text, 0600);
  if (!written) log::warn("addresses of services cannot be kept", {{"why", written.error().text}});
}

}  // namespace ztna::apps
