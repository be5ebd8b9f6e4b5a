#include "plan/conv_chains.hpp"

#include <cstddef>
#include <map>
#include <utility>

namespace ember::plan {

using graph::kNoValue;
using graph::ValueId;

namespace {

constexpr std::size_t kNone = static_cast<std::size_t>(-1);

class Chainer {
 public:
  Chainer(const Specialized& specialized, const std::vector<Group>& groups, const std::set<ValueId>& kept)
      : s_(specialized), groups_(groups), kept_(kept), follows_(groups.size(), kNone), leads_(follows_) {
    for (std::size_t i = 0; i < groups.size(); ++i) {
      if (groups[i].output != kNoValue) maker_.emplace(groups[i].output, i);
    }
  }

  /// follows[i] is the group that runs before group i in its chain, or kNone.
  std::vector<std::size_t> run() {
    for (std::size_t i = 0; i < groups_.size(); ++i) {
      if (!is_depthwise(groups_[i])) continue;
      if (const std::size_t before = before_of(i); before != kNone && follows_[before] == kNone)
        link(before, i);
    }
    for (std::size_t i = 0; i < groups_.size(); ++i) {
      if (!is_convolution(groups_[i]) || is_depthwise(groups_[i]) || leads_[i] != kNone) continue;
      const std::size_t before = before_of(i);
      if (before != kNone && is_depthwise(groups_[before])) link(before, i);
    }
    return follows_;
  }

 private:
  [[nodiscard]] bool is_convolution(const Group& group) const {
    const graph::Node& node = s_.graph.node(group.main);
    return node.op == "Conv" && node.domain.empty();
  }

  [[nodiscard]] bool is_depthwise(const Group& group) const {
    if (!is_convolution(group)) return false;
    const Fact& input = s_.fact(s_.graph.node(group.main).inputs[0]);
    const std::int64_t groups = ops::NodeContext(s_.graph, group.main).integer("group", 1);
    return input.shape.has_value() && input.shape->rank() >= 3 && groups > 1 && groups == (*input.shape)[1];
  }

  /// The convolution whose result only group i reads, as its input 0.
  [[nodiscard]] std::size_t before_of(std::size_t i) const {
    const ValueId between = s_.graph.node(groups_[i].main).inputs[0];
    const auto made = maker_.find(between);
    if (made == maker_.end() || !is_convolution(groups_[made->second])) return kNone;
    const Group& before = groups_[made->second];
    const bool seen = kept_.contains(between) || s_.graph.is_output(between);
    if (seen || before.residual != kNoValue || !s_.is_static(between)) return kNone;
    return s_.graph.users(between).size() == 1 && groups_[i].residual != between ? made->second : kNone;
  }

  void link(std::size_t before, std::size_t after) {
    follows_[after] = before;
    leads_[before] = after;
  }

  const Specialized& s_;
  const std::vector<Group>& groups_;
  const std::set<ValueId>& kept_;
  std::map<ValueId, std::size_t> maker_;
  std::vector<std::size_t> follows_, leads_;
};

}  // namespace

std::vector<Chain> chain_convolutions(const Specialized& specialized, std::vector<Group> groups,
                                      const std::set<graph::ValueId>& kept) {
  const std::vector<std::size_t> follows = Chainer(specialized, groups, kept).run();
  std::vector<bool> leads(groups.size(), false);
  for (const std::size_t before : follows) {
    if (before != kNone) leads[before] = true;
  }
  std::vector<Chain> chains;
  for (std::size_t i = 0; i < groups.size(); ++i) {
    if (leads[i]) continue;
    Chain chain;
    for (std::size_t at = i; at != kNone; at = follows[at])
      chain.insert(chain.begin(), std::move(groups[at]));
    chains.push_back(std::move(chain));
  }
  return chains;
}

}  // namespace ember::plan
