// What a program offers at /metrics. A metric is declared once, with a help text that says what one increment means;
// the value is read when somebody scrapes. http::MetricsPage turns the list into Prometheus text.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/counters.h"

namespace ztna {

struct Metric {
  enum class Kind : std::uint8_t { counter, gauge };
  std::string name;
  std::string help;
  Kind kind = Kind::counter;
  std::vector<std::pair<std::string, std::string>> labels;
  std::function<double()> read;  // called on the HTTP thread: only atomics behind it
};

class Metrics {
 public:
  void add(Metric metric) { list_.push_back(std::move(metric)); }
  void counter(std::string name, std::string help, const Counter& c) {
    add({std::move(name), std::move(help), Metric::Kind::counter, {}, [&c] { return static_cast<double>(c.value()); }});
  }
  void gauge(std::string name, std::string help, const Counter& c) {
    add({std::move(name), std::move(help), Metric::Kind::gauge, {}, [&c] { return static_cast<double>(c.value()); }});
  }
  /// One series per member of Enum, labelled `label="to_string(member)"`.
  template <typename Enum>
  void counters(const std::string& name, const std::string& help, const std::string& label,
                const CounterSet<Enum>& set) {
    for (std::size_t i = 0; i < CounterSet<Enum>::kSize; ++i) {
      const auto member = static_cast<Enum>(i);
      add({name, help, Metric::Kind::counter, {{label, std::string{to_string(member)}}}, [&set, member] {
             return static_cast<double>(set.value(member));
           }});
    }
  }
  const std::vector<Metric>& list() const { return list_; }

 private:
  std::vector<Metric> list_;
};

}  // namespace ztna
