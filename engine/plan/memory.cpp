#include <algorithm>
#include <limits>
#include <numeric>
#include <vector>

#include "core/aligned_memory.hpp"
#include "plan/plan.hpp"

namespace ember::plan {

namespace {

constexpr int kForever = std::numeric_limits<int>::max();

/// One piece of arena memory: one slot, or several that share it in place one after the other.
struct Buffer {
  std::size_t bytes = 0;
  int first = kForever, last = -1;  ///< steps during which it is in use
  int changed = -1;                 ///< last step that makes one of its slots
  int joined = kForever;            ///< first step that would have it as a part of its output
  int slots = 1;
  int whole = kNoSlot;     ///< the owner of the buffer that this one is a part of
  std::size_t offset = 0;  ///< in the arena, or in the whole
};

class MemoryPlanner {
 public:
  explicit MemoryPlanner(Plan& plan) : plan_(plan), owner_(plan.slots.size()), buffers_(plan.slots.size()) {
    std::iota(owner_.begin(), owner_.end(), 0);
  }

  void run() {
    measure_lifetimes();
    share_in_place();
    put_parts_into_wholes();
    place();
    for (std::size_t i = 0; i < plan_.slots.size(); ++i) {
      if (is_arena(static_cast<int>(i))) plan_.slots[i].offset = offset_of(owner_[i]);
    }
  }

 private:
  static std::size_t index(int slot) { return static_cast<std::size_t>(slot); }
  [[nodiscard]] bool is_arena(int slot) const {
    return slot >= 0 && plan_.slots[index(slot)].kind == Slot::Kind::Arena;
  }

  void touch(int slot, int step) {
    if (!is_arena(slot)) return;
    Buffer& buffer = buffers_[index(slot)];
    buffer.first = std::min(buffer.first, step);
    buffer.last = std::max(buffer.last, step);
  }

  void measure_lifetimes() {
    for (std::size_t i = 0; i < buffers_.size(); ++i)
      buffers_[i].bytes = align_up(plan_.slots[i].desc.bytes());
    for (std::size_t at = 0; at < plan_.steps.size(); ++at) {
      const PlannedStep& step = plan_.steps[at];
      for (const auto* list : {&step.inputs, &step.outputs, &step.then_captures, &step.else_captures}) {
        for (const int slot : *list) touch(slot, static_cast<int>(at));
      }
      for (const int slot : step.outputs) {
        if (is_arena(slot)) buffers_[index(slot)].changed = static_cast<int>(at);
      }
      for (const ops::Placement& placement : step.placements) {
        const int slot = step.inputs[index(placement.input)];
        if (!is_arena(slot)) continue;
        int& joined = buffers_[index(slot)].joined;
        joined = std::min(joined, static_cast<int>(at));
      }
    }
    // Inputs are filled before the first step and may be run on again; outputs are read after the last.
    for (const int slot : plan_.inputs) {
      touch(slot, -1);
      touch(slot, kForever);
    }
    for (const int slot : plan_.outputs) touch(slot, kForever);
  }

  void share_in_place() {
    for (std::size_t at = 0; at < plan_.steps.size(); ++at) {
      const PlannedStep& step = plan_.steps[at];
      if (step.in_place < 0 || step.outputs.empty()) continue;
      const int from = step.inputs[index(step.in_place)];
      const int to = step.outputs[0];
      if (!is_arena(from) || !is_arena(to)) continue;
      Buffer& source = buffers_[index(owner_[index(from)])];
      Buffer& result = buffers_[index(to)];
      const bool read_again = std::ranges::count(step.inputs, from) > 1;
      // A part of something must not change any more; to be a part saves more than to share.
      if (source.joined < static_cast<int>(at)) continue;
      if (source.last != static_cast<int>(at) || source.bytes != result.bytes || read_again) continue;
      source.last = result.last;
      source.changed = static_cast<int>(at);
      source.joined = std::min(source.joined, result.joined);
      ++source.slots;
      owner_[index(to)] = owner_[index(from)];
    }
  }

  /// What a step would copy into a part of its output is made there, where nothing else is written to either
  /// of them meanwhile.
  void put_parts_into_wholes() {
    for (std::size_t at = 0; at < plan_.steps.size(); ++at) {
      const PlannedStep& step = plan_.steps[at];
      for (const ops::Placement& placement : step.placements) {
        const int part_slot = step.inputs[index(placement.input)];
        if (!is_arena(part_slot) || !is_arena(step.outputs[0])) continue;
        const int whole_id = owner_[index(step.outputs[0])];
        const int part_id = owner_[index(part_slot)];
        Buffer& whole = buffers_[index(whole_id)];
        Buffer& part = buffers_[index(part_id)];
        const std::size_t end = placement.offset + plan_.slots[index(part_slot)].desc.bytes();
        const bool own = part.whole == kNoSlot && part.first >= 0 && part.last != kForever;
        const bool settled = part.changed < static_cast<int>(at) && whole.slots == 1;
        const bool fits = placement.offset % kAlignment == 0 && end <= whole.bytes;
        if (!own || !settled || !fits || part_id == whole_id) continue;
        part.whole = whole_id;
        part.offset = placement.offset;
        whole.first = std::min(whole.first, part.first);
        whole.last = std::max(whole.last, part.last);
      }
    }
  }

  [[nodiscard]] std::size_t offset_of(int id) const {
    const Buffer& buffer = buffers_[index(id)];
    return buffer.offset + (buffer.whole == kNoSlot ? 0 : offset_of(buffer.whole));
  }

  /// Largest first, each at the lowest offset where it overlaps nothing that lives at the same time.
  void place() {
    std::vector<int> order;
    for (std::size_t i = 0; i < buffers_.size(); ++i) {
      const bool own = owner_[i] == static_cast<int>(i) && buffers_[i].whole == kNoSlot;
      if (own && is_arena(static_cast<int>(i)) && buffers_[i].last >= buffers_[i].first)
        order.push_back(static_cast<int>(i));
    }
    std::ranges::stable_sort(
        order, [&](int a, int b) { return buffers_[index(a)].bytes > buffers_[index(b)].bytes; });
    std::vector<const Buffer*> placed;  // by offset
    for (const int id : order) {
      Buffer& buffer = buffers_[index(id)];
      std::size_t offset = 0;
      for (const Buffer* other : placed) {
        if (other->last < buffer.first || buffer.last < other->first) continue;
        if (offset + buffer.bytes <= other->offset) break;
        offset = std::max(offset, other->offset + other->bytes);
      }
      buffer.offset = offset;
      placed.insert(std::ranges::upper_bound(placed, offset, {}, [](const Buffer* b) { return b->offset; }),
                    &buffer);
      plan_.arena_bytes = std::max(plan_.arena_bytes, offset + buffer.bytes);
    }
  }

  Plan& plan_;
  std::vector<int> owner_;  ///< slot whose buffer a slot uses
  std::vector<Buffer> buffers_;
};

}  // namespace

void assign_memory(Plan& plan) { MemoryPlanner(plan).run(); }

}  // namespace ember::plan
