#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace ember::test {

/// What of a network's channels can go, by an account that is kept channel by channel while the network is
/// built, independent of how surgery finds it. Constants that pruning merges into one are not in it: they may
/// go, but need not.
class ChannelAccount {
 public:
  /// Channels (layer output, index) that can go, and must.
  [[nodiscard]] std::vector<std::pair<std::string, std::int64_t>> removable() const {
    std::vector<std::pair<std::string, std::int64_t>> list;
    if (emptied_) return list;  // some channel stays where all could go, and keeps others
    for (const Made& made : made_) {
      if (!unsure_.contains(find(made.channel)) && gone_.contains(find(made.channel)))
        list.emplace_back(made.layer, made.index);
    }
    return list;
  }

 protected:
  using Channel = int;

  struct Entry {
    Channel channel;
    std::optional<double> constant;
  };
  /// Channel `from` reaches channel `to` of a layer, unless its constant takes care of it.
  struct Use {
    Channel from, to;
  };
  struct Made {
    std::string layer;
    std::int64_t index;
    Channel channel;
  };

  Channel fresh(bool held) {
    parents_.push_back(static_cast<int>(parents_.size()));
    if (held) held_.insert(parents_.back());
    return parents_.back();
  }
  [[nodiscard]] Channel find(Channel c) const {
    while (parents_[static_cast<std::size_t>(c)] != c) c = parents_[static_cast<std::size_t>(c)];
    return c;
  }
  void join(Channel a, Channel b) { parents_[static_cast<std::size_t>(find(a))] = find(b); }

  /// Channels of one value: never all of them go.
  void note_channels(std::vector<Entry> channels) {
    if (channels.size() == 1) held_.insert(channels.front().channel);
    noted_.push_back(std::move(channels));
  }

  /// What reaches an output, directly or not, stays; so does what can only go together with it.
  void settle() {
    std::set<Channel> stay;
    for (const Channel c : held_) stay.insert(find(c));
    for (bool changed = true; changed;) {
      changed = false;
      for (const Use& use : uses_) {
        if (stay.contains(find(use.to))) changed = stay.insert(find(use.from)).second || changed;
      }
    }
    for (std::size_t c = 0; c < parents_.size(); ++c) {
      if (!stay.contains(find(static_cast<Channel>(c)))) gone_.insert(find(static_cast<Channel>(c)));
    }
    for (const auto& channels : noted_) {
      // A constant may be merged into another layer's.
      emptied_ = emptied_ || std::ranges::all_of(channels, [&](const Entry& entry) {
                   return entry.constant.has_value() || gone_.contains(find(entry.channel));
                 });
    }
    for (const auto* list : {&unsure_tokens_, &unsure_inputs_}) {
      const bool some =
          std::ranges::any_of(unsure_tokens_, [&](Channel c) { return gone_.contains(find(c)); });
      if (list == &unsure_inputs_ && !some) continue;
      for (const Channel c : *list) unsure_.insert(find(c));
    }
  }

  std::vector<Channel> parents_;
  std::set<Channel> held_, gone_, unsure_;
  std::vector<Channel> unsure_tokens_, unsure_inputs_;
  std::vector<Use> uses_;
  std::vector<Made> made_;
  std::vector<std::vector<Entry>> noted_;
  bool emptied_ = false;
};

}  // namespace ember::test
