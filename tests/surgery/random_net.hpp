#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "surgery/channel_account.hpp"
#include "surgery/pruning.hpp"

namespace ember::test {

/// Random networks with planted constant and unread channels, and what of them can go.
class RandomNet : public ChannelAccount {
 public:
  explicit RandomNet(std::uint64_t seed) : random_(seed) {
    Map x{net.input("x", DataType::Float32, {1, 3, kSide, kSide}), {}, kSide};
    for (int c = 0; c < 3; ++c) x.channels.push_back({.channel = fresh(true), .constant = std::nullopt});
    maps_.push_back(conv(x, 4 + pick(6)));
    const int blocks = 3 + pick(5);
    for (int block = 0; block < blocks; ++block) grow();
    finish();
    settle();
  }

  NetBuilder net;

 private:
  static constexpr std::int64_t kSide = 5;
  using Integers = std::vector<std::int64_t>;
  struct Map {
    graph::ValueId value;
    std::vector<Entry> channels;
    std::int64_t side;
  };
  int pick(int below) { return static_cast<int>(random_() % static_cast<std::uint64_t>(below)); }
  bool chance(int percent) { return pick(100) < percent; }
  std::string name(const std::string& what) { return what + std::to_string(++names_); }
  static std::int64_t count(const Map& map) { return static_cast<std::int64_t>(map.channels.size()); }

  /// Constants for some rows, never the first: 0 after a ReLU, or not.
  Planted plant(std::int64_t out, const std::set<std::int64_t>* rows = nullptr) {
    Planted planted;
    for (std::int64_t o = 1; o < out; ++o) {
      if (rows != nullptr ? rows->contains(o) : chance(25)) planted[o] = chance(70) ? -0.5F : 0.5F;
    }
    return planted;
  }

  /// `same`: of the same side.
  Map conv(const Map& x, std::int64_t out, bool same = false, const std::set<std::int64_t>* rows = nullptr) {
    const std::int64_t kernel = chance(50) ? 3 : 1;
    const std::int64_t pad = kernel == 3 && (same || x.side < 3 || chance(70)) ? 1 : 0;
    const Planted planted = plant(out, rows);
    Tensor w = random_tensor(Shape{out, count(x), kernel, kernel}, random_(), -0.5F, 0.5F);
    const std::int64_t taps = kernel * kernel;
    std::set<std::int64_t> unread;
    for (std::int64_t i = 1; i < count(x); ++i) {
      if (chance(8)) unread.insert(i);
    }
    for (std::int64_t o = 0; o < out; ++o) {
      for (std::int64_t i = 0; i < count(x); ++i) {
        if (planted.contains(o) || unread.contains(i))
          std::fill_n(w.data<float>().begin() + (o * count(x) + i) * taps, taps, 0.0F);
      }
    }
    const std::string layer = name("conv");
    const auto y = net.conv_of(layer, x.value, net.constant(layer + ".w", std::move(w)),
                               net.bias(layer + ".b", out, planted), {.kernel = kernel, .pad = pad});
    Map made{y, {}, pad == 1 || kernel == 1 ? x.side : x.side - 2};
    for (std::int64_t o = 0; o < out; ++o) {
      made.channels.push_back({fresh(false), std::nullopt});
      made_.push_back({layer, o, made.channels.back().channel});
      const auto at = planted.find(o);
      if (at != planted.end()) made.channels.back().constant = static_cast<double>(at->second);
    }
    for (std::int64_t i = 0; i < count(x); ++i) {
      const Entry& entry = x.channels[static_cast<std::size_t>(i)];
      const bool folds = entry.constant.has_value() && (*entry.constant == 0.0 || pad == 0);
      for (std::int64_t o = 0; o < out; ++o) {
        if (!folds && !planted.contains(o) && !unread.contains(i))
          uses_.push_back({entry.channel, made.channels[static_cast<std::size_t>(o)].channel});
      }
    }
    note(made);
    return relu(made);
  }

  Map relu(const Map& x) {
    Map y = x;
    y.value = net.op("Relu", name("relu"), {x.value});
    for (Entry& entry : y.channels) {
      if (entry.constant) entry.constant = std::max(*entry.constant, 0.0);
    }
    return y;
  }

  Map depthwise(const Map& x) {
    const std::string layer = name("dw");
    const std::int64_t pad = 1;
    Map y = x;
    const auto bias = net.bias(layer + ".b", count(x), {});
    y.value = net.conv_of(layer, x.value, net.weights(layer + ".w", {count(x), 1, 3, 3}, {}), bias,
                          {.kernel = 3, .pad = pad, .group = count(x)});
    const auto biases = net.graph().constant(bias)->data<float>();
    for (std::size_t c = 0; c < y.channels.size(); ++c) {
      auto& constant = y.channels[c].constant;
      if (constant == 0.0) constant = static_cast<double>(biases[c]);
      else constant.reset();  // what padding makes of another constant is none
    }
    return relu(y);
  }

  Map normalised(const Map& x) {
    const std::string layer = name("bn");
    const std::int64_t n = count(x);
    Tensor scale = random_tensor(Shape{n}, random_(), 0.5F, 1.5F);
    const Tensor shift = random_tensor(Shape{n}, random_());
    Map y = x;
    for (std::int64_t c = 1; c < n; ++c) {
      auto& constant = y.channels[static_cast<std::size_t>(c)].constant;
      const double beta = static_cast<double>(shift.data<float>()[static_cast<std::size_t>(c)]);
      const double gamma = static_cast<double>(scale.data<float>()[static_cast<std::size_t>(c)]);
      if (chance(10)) {
        scale.data<float>()[static_cast<std::size_t>(c)] = 0.0F;
        constant = beta;
      } else if (constant) {
        constant = *constant * gamma / std::sqrt(1.0 + 1e-5) + beta;
      }
    }
    y.channels[0].constant.reset();
    y.value = net.op("BatchNormalization", layer,
                     {x.value, net.constant(layer + ".scale", scale), net.constant(layer + ".shift", shift),
                      net.constant(layer + ".mean", Tensor(DataType::Float32, Shape{n})),
                      net.constant(layer + ".variance",
                                   Tensor(Shape{n}, std::vector<float>(scale.data<float>().size(), 1.0F)))});
    return chance(60) ? relu(y) : y;
  }

  Map add(const Map& a, const Map& b) {
    Map y = a;
    y.value = net.op("Add", name("add"), {a.value, b.value});
    for (std::size_t c = 0; c < y.channels.size(); ++c) {
      join(a.channels[c].channel, b.channels[c].channel);
      if (a.channels[c].constant && b.channels[c].constant)
        y.channels[c].constant = *a.channels[c].constant + *b.channels[c].constant;
      else y.channels[c].constant.reset();
    }
    return y;
  }

  Map concat(const std::vector<Map>& parts) {
    Map y = parts.front();
    std::vector<graph::ValueId> values = {y.value};
    for (std::size_t i = 1; i < parts.size(); ++i) {
      y.channels.insert(y.channels.end(), parts[i].channels.begin(), parts[i].channels.end());
      values.push_back(parts[i].value);
    }
    y.value = net.op("Concat", name("concat"), values, {{"axis", std::int64_t{1}}});
    return y;
  }

  /// A residual block: the branch's last layer may have dead rows where the trunk has, or elsewhere.
  Map residual(const Map& x) {
    std::set<std::int64_t> rows;
    for (std::int64_t c = 1; c < count(x); ++c) {
      if (x.channels[static_cast<std::size_t>(c)].constant ? chance(70) : chance(15)) rows.insert(c);
    }
    return add(x, conv(conv(x, 4 + pick(5), true), count(x), true, &rows));
  }

  Map dense_block(const Map& x) {
    std::vector<Map> parts = {x};
    Map joined = x;
    for (int i = 0; i < 2; ++i) {
      const Map next = conv(joined, 2 + pick(3), true);
      parts.push_back(next);
      joined = i == 0 ? concat(parts) : concat({joined, next});  // also a concat of a concat
    }
    return joined;
  }

  Map split(const Map& x) {
    const std::int64_t first = 1 + pick(static_cast<int>(count(x)) - 1);
    const auto parts = net.node(
        "Split", name("split"),
        {x.value,
         net.constant(name("sizes"), Tensor(Shape{2}, std::vector<std::int64_t>{first, count(x) - first}))},
        {{"axis", std::int64_t{1}}}, 2);
    Map a{parts[0], {x.channels.begin(), x.channels.begin() + first}, x.side};
    Map b{parts[1], {x.channels.begin() + first, x.channels.end()}, x.side};
    note(a);
    note(b);
    return concat({relu(b), a});
  }

  Map slice(const Map& x) {
    const std::int64_t end = 1 + pick(static_cast<int>(count(x)));
    const auto ints = [&](std::int64_t v) {
      return net.constant(name("bound"), Tensor(Shape{1}, std::vector<std::int64_t>{v}));
    };
    Map y{net.op("Slice", name("slice"), {x.value, ints(0), ints(end), ints(1)}),
          {x.channels.begin(), x.channels.begin() + end},
          x.side};
    note(y);
    return y;
  }

  /// Two convolutions with the same weights, on inputs whose channels then go together.
  Map shared(const Map& x) {
    const Map a = conv(x, 2 + count(x), true);
    const Map b = conv(x, 2 + count(x), true);
    const std::int64_t out = 3 + pick(3);
    const Planted planted = plant(out);
    const std::string layer = name("shared");
    const auto w = net.weights(layer + ".w", {out, count(a), 1, 1}, planted);
    std::vector<Map> sides;
    for (const Map* side : {&a, &b}) {
      const std::string own = name("shares");
      Map y{net.conv_of(own, side->value, w, net.bias(own + ".b", out, planted), {}), {}, side->side};
      for (std::int64_t o = 0; o < out; ++o) {
        const auto at = planted.find(o);
        y.channels.push_back({fresh(false), at == planted.end()
                                                ? std::nullopt
                                                : std::optional(static_cast<double>(at->second))});
        made_.push_back({own, o, y.channels.back().channel});
        if (!sides.empty())
          join(y.channels.back().channel, sides[0].channels[static_cast<std::size_t>(o)].channel);
      }
      for (const Entry& entry : side->channels) {
        for (std::int64_t o = 0; o < out; ++o) {
          if (!entry.constant && !planted.contains(o))
            uses_.push_back({entry.channel, y.channels[static_cast<std::size_t>(o)].channel});
        }
      }
      note(y);
      sides.push_back(relu(y));
    }
    for (std::size_t c = 0; c < a.channels.size(); ++c) join(a.channels[c].channel, b.channels[c].channel);
    return concat(sides);
  }

  /// A convolution in two groups behind one whose dead channels are alike in both.
  Map grouped(const Map& x) {
    const std::int64_t half = 2 + pick(3);
    std::set<std::int64_t> rows;
    for (std::int64_t i = 1; i < half; ++i) {
      if (chance(40)) rows.insert({i, half + i});
    }
    const Map before = conv(x, 2 * half, false, &rows);
    const std::string layer = name("grouped");
    Map y{net.conv(layer, before.value, 2 * half, 2 * half, {}, {.kernel = 1, .group = 2}), {}, before.side};
    for (std::int64_t o = 0; o < 2 * half; ++o) {
      y.channels.push_back({fresh(false), std::nullopt});
      made_.push_back({layer, o, y.channels.back().channel});
      // Unread outputs may be unevenly many; then the groups keep some.
      unsure_tokens_.push_back(y.channels.back().channel);
      for (std::int64_t i = o / half * half; i < (o / half + 1) * half; ++i) {
        const Entry& entry = before.channels[static_cast<std::size_t>(i)];
        if (!entry.constant) uses_.push_back({entry.channel, y.channels.back().channel});
      }
    }
    note(y);
    for (const Entry& entry : before.channels) unsure_inputs_.push_back(entry.channel);
    return relu(y);
  }

  Map excite(const Map& x) {
    const auto mean = net.op("GlobalAveragePool", name("squeeze"), {x.value});
    Map squeezed = x;
    squeezed.value = mean;
    squeezed.side = 1;
    const std::string layer = name("gate");
    const std::int64_t n = count(x);
    const auto gate = net.op("Sigmoid", layer + ".gate", {net.conv(layer, mean, n, n)});
    Map y = x;
    y.value = net.op("Mul", name("excite"), {x.value, gate});
    for (std::int64_t c = 0; c < n; ++c) {
      const Channel own = fresh(false);
      made_.push_back({layer, c, own});
      for (const Entry& entry : x.channels) {
        if (!entry.constant) uses_.push_back({entry.channel, own});
      }
      join(own, x.channels[static_cast<std::size_t>(c)].channel);
      if (y.channels[static_cast<std::size_t>(c)].constant != 0.0)
        y.channels[static_cast<std::size_t>(c)].constant.reset();
    }
    return y;
  }

  Map activated(const Map& x) {
    const std::int64_t n = count(x);
    const Tensor slopes = random_tensor(Shape{n, 1, 1}, random_(), 0.1F, 0.5F);
    Map y = x;
    for (std::size_t c = 0; c < y.channels.size(); ++c) {
      auto& constant = y.channels[c].constant;
      if (constant && *constant < 0.0) *constant *= static_cast<double>(slopes.data<float>()[c]);
    }
    const std::string layer = name("prelu");
    y.value = net.op("PRelu", layer, {x.value, net.constant(layer + ".slope", slopes)});
    return y;
  }

  /// A layer's new channels: constant where planted. `folds`: its bias takes constants over.
  Map made_by(const std::string& layer, graph::ValueId value, const Map& x, std::int64_t out,
              const Planted& planted, bool folds) {
    Map y{value, {}, x.side};
    for (std::int64_t o = 0; o < out; ++o) {
      const auto at = planted.find(o);
      const auto constant =
          at == planted.end() ? std::nullopt : std::optional(static_cast<double>(at->second));
      y.channels.push_back({.channel = fresh(false), .constant = constant});
      made_.push_back({.layer = layer, .index = o, .channel = y.channels.back().channel});
      for (const Entry& entry : x.channels) {
        const bool harmless = entry.constant.has_value() && (*entry.constant == 0.0 || folds);
        if (!harmless && !constant) uses_.push_back({.from = entry.channel, .to = y.channels.back().channel});
      }
    }
    note(y);
    return y;
  }

  /// Zeros in the columns of a weight tensor of [inputs][outputs][taps].
  static void empty_columns(Tensor& w, const Planted& planted) {
    const std::int64_t out = w.shape()[1];
    const std::int64_t taps = w.shape().elements(2, w.shape().rank());
    for (std::int64_t i = 0; i < w.shape()[0]; ++i) {
      for (const auto& [o, constant] : planted)
        std::fill_n(w.data<float>().begin() + (i * out + o) * taps, taps, 0.0F);
    }
  }

  Map transposed(const Map& x) {
    const std::int64_t out = 3 + pick(4);
    const std::int64_t kernel = chance(50) ? 3 : 1;
    const std::int64_t pad = kernel / 2;
    const Planted planted = plant(out);
    Tensor w = random_tensor(Shape{count(x), out, kernel, kernel}, random_(), -0.5F, 0.5F);
    empty_columns(w, planted);
    const std::string layer = name("up");
    const auto y =
        net.op("ConvTranspose", layer,
               {x.value, net.constant(layer + ".w", std::move(w)), net.bias(layer + ".b", out, planted)},
               {{"kernel_shape", Integers{kernel, kernel}}, {"pads", Integers{pad, pad, pad, pad}}});
    return relu(made_by(layer, y, x, out, planted, kernel == 1));
  }

  graph::ValueId integers(const std::string& what, const Integers& values) {
    return net.constant(name(what), Tensor(Shape{static_cast<std::int64_t>(values.size())}, values));
  }
  graph::ValueId transpose(graph::ValueId x, const Integers& order) {
    return net.op("Transpose", name("turned"), {x}, {{"perm", order}});
  }

  /// A matrix product over channels that are last, and back.
  Map linear(const Map& x) {
    const std::int64_t out = 3 + pick(4);
    const Planted planted = plant(out);
    Tensor w = random_tensor(Shape{count(x), out}, random_(), -0.5F, 0.5F);
    empty_columns(w, planted);
    const std::string layer = name("linear");
    const auto product = net.op("MatMul", layer + ".product",
                                {transpose(x.value, {0, 2, 3, 1}), net.constant(layer + ".w", std::move(w))});
    const auto sum = net.op("Add", layer + ".sum", {product, net.bias(layer + ".b", out, planted)});
    const auto y = net.op("Transpose", layer, {sum}, {{"perm", Integers{0, 3, 1, 2}}});
    return relu(made_by(layer, y, x, out, planted, true));
  }

  /// What pads, crops, enlarges or reshapes images and leaves channels apart.
  Map resized(const Map& x) {
    Map y = x;
    const int way = pick(4);
    if (way == 0 && x.side <= kSide) {
      y.value = net.op("Pad", name("padded"), {x.value, integers("pads", {0, 0, 1, 1, 0, 0, 1, 1})});
      y.side += 2;
      for (Entry& entry : y.channels) {
        if (entry.constant != 0.0) entry.constant.reset();
      }
      // Were it flattened, the padding itself could be cut as well as the channels, and only one of them is.
      return conv(y, 3 + pick(4));
    } else if (way == 1 && x.side <= 3) {
      const auto scales = net.constant(name("scales"), Tensor(Shape{4}, std::vector<float>{1, 1, 2, 2}));
      y.value = net.op("Resize", name("enlarged"), {x.value, graph::kNoValue, scales},
                       {{"mode", std::string("nearest")}});
      y.side *= 2;
    } else if (way == 2 && x.side > 3) {
      y.value = net.op("Slice", name("cropped"),
                       {x.value, integers("from", {1, 0}), integers("to", {x.side, x.side - 1}),
                        integers("axes", {2, 3})});
      y.side -= 1;
    } else {
      const auto rows =
          net.op("Reshape", name("rows"), {x.value, integers("shape", {1, chance(50) ? 0 : count(x), -1})});
      y.value = net.op("Reshape", name("image"),
                       {rows, integers("shape", {1, chance(50) ? 0 : count(x), x.side, x.side})});
    }
    return y;
  }

  /// Pixels as steps of an LSTM or GRU. Units with an empty candidate gate stay at 0.
  Map recurrent(const Map& x) {
    const std::int64_t hidden = 3 + pick(3);
    const bool lstm = chance(50);
    const std::int64_t rows = (lstm ? 4 : 3) * hidden;
    Tensor w = random_tensor(Shape{1, rows, count(x)}, random_(), -0.5F, 0.5F);
    Tensor r = random_tensor(Shape{1, rows, hidden}, random_(), -0.5F, 0.5F);
    Tensor b = random_tensor(Shape{1, 2 * rows}, random_(), -0.5F, 0.5F);
    Planted idle;
    for (std::int64_t unit = 1; unit < hidden; ++unit) {
      if (!chance(25)) continue;
      idle[unit] = 0.0F;
      const std::int64_t row = rows - hidden + unit;
      std::fill_n(w.data<float>().begin() + row * count(x), count(x), 0.0F);
      std::fill_n(r.data<float>().begin() + row * hidden, hidden, 0.0F);
      for (const std::int64_t at : {row, rows + row}) b.data<float>()[static_cast<std::size_t>(at)] = 0.0F;
    }
    const std::string layer = name(lstm ? "lstm" : "gru");
    const auto steps = transpose(
        net.op("Reshape", name("steps"), {x.value, integers("shape", {1, count(x), -1})}), {2, 0, 1});
    const auto states =
        net.node(lstm ? "LSTM" : "GRU", layer + ".states",
                 {steps, net.constant(layer + ".w", std::move(w)), net.constant(layer + ".r", std::move(r)),
                  net.constant(layer + ".b", std::move(b))},
                 {{"hidden_size", hidden}}, 1)[0];
    const auto flat = transpose(net.op("Squeeze", name("flat"), {states, integers("axes", {1})}), {1, 2, 0});
    const auto y = net.op("Reshape", layer, {flat, integers("shape", {1, hidden, x.side, x.side})});
    Map made = made_by(layer, y, x, hidden, idle, false);
    // The other units read each other.
    for (const Entry& from : made.channels) {
      for (const Entry& to : made.channels) {
        if (!from.constant && !to.constant) uses_.push_back({.from = from.channel, .to = to.channel});
      }
    }
    return made;
  }

  void note(const Map& map) { note_channels(map.channels); }

  void grow() {
    const int from = pick(static_cast<int>(maps_.size()));
    const Map x = maps_[static_cast<std::size_t>(from)];
    if (chance(60)) maps_.erase(maps_.begin() + from);  // read by what grows from it only
    const std::vector<std::function<Map()>> ways = {[&] { return conv(x, 3 + pick(8)); },
                                                    [&] { return residual(x); },
                                                    [&] { return dense_block(x); },
                                                    [&] { return depthwise(x); },
                                                    [&] { return normalised(x); },
                                                    [&] { return count(x) > 1 ? split(x) : conv(x, 4); },
                                                    [&] { return slice(x); },
                                                    [&] { return shared(x); },
                                                    [&] { return grouped(x); },
                                                    [&] { return excite(x); },
                                                    [&] { return activated(x); },
                                                    [&] { return transposed(x); },
                                                    [&] { return linear(x); },
                                                    [&] { return resized(x); },
                                                    [&] { return recurrent(x); }};
    const Map y = ways[static_cast<std::size_t>(pick(static_cast<int>(ways.size())))]();
    if (y.side >= 3 || maps_.empty()) maps_.push_back(y);
    else ends_.push_back(y);
  }

  /// Shows everything: some maps as they are, the rest through a Flatten or a mean and a Gemm.
  void finish() {
    for (const Map& map : maps_) ends_.push_back(map);
    int exposed = 0;
    for (const Map& map : ends_) {
      if (exposed == 0 && chance(15)) {
        ++exposed;
        net.output(map.value);
        for (const Entry& entry : map.channels) held_.insert(entry.channel);
        continue;
      }
      const bool flat = chance(50);
      const auto pooled = flat ? map.value : net.op("GlobalAveragePool", name("mean"), {map.value});
      const std::int64_t inputs = count(map) * (flat ? map.side * map.side : 1);
      net.output(net.gemm(name("scores"), net.op("Flatten", name("flat"), {pooled}), 3, inputs));
      for (const Entry& entry : map.channels) {
        if (!entry.constant) held_.insert(entry.channel);
      }
    }
  }

  std::mt19937_64 random_;
  int names_ = 0;
  std::vector<Map> maps_, ends_;
};

}  // namespace ember::test
