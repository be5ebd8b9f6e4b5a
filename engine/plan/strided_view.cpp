#include "plan/strided_view.hpp"

#include <algorithm>
#include <cstddef>
#include <utility>

namespace ember::plan {

StridedView::StridedView(const Shape& dense) : axes_(static_cast<std::size_t>(dense.rank())) {
  std::int64_t stride = 1;
  for (int axis = dense.rank() - 1; axis >= 0; --axis) {
    if (dense[axis] != 1) axes_[static_cast<std::size_t>(axis)] = {{dense[axis], stride}};
    stride *= dense[axis];
  }
}

bool StridedView::reshape(const Shape& to) {
  std::vector<Walk> walks;  // fastest first
  for (auto axis = axes_.rbegin(); axis != axes_.rend(); ++axis)
    walks.insert(walks.end(), axis->rbegin(), axis->rend());
  std::vector<Axis> axes;
  std::size_t next = walks.size();  // walks.back() is the slowest
  for (int axis = 0; axis < to.rank(); ++axis) {
    Axis made;
    std::int64_t wanted = to[axis];
    if (wanted < 1) return false;
    while (wanted > 1) {
      if (next == 0) return false;
      Walk& walk = walks[next - 1];
      if (wanted % walk.extent == 0) {
        made.push_back(walk);
        wanted /= walk.extent;
        --next;
      } else if (walk.extent % wanted == 0) {
        walk.extent /= wanted;
        made.push_back({wanted, walk.stride * walk.extent});
        wanted = 1;
      } else {
        return false;
      }
    }
    axes.push_back(std::move(made));
  }
  if (next != 0) return false;
  axes_ = std::move(axes);
  return true;
}

bool StridedView::transpose(std::span<const int> perm) {
  if (perm.size() != axes_.size()) return false;
  std::vector<Axis> axes;
  for (const int axis : perm) axes.push_back(axes_[static_cast<std::size_t>(axis)]);
  axes_ = std::move(axes);
  return true;
}

bool StridedView::pick(int axis, std::int64_t index) {
  const std::vector<std::int64_t> from_first = distances(axis);
  if (index < 0 || index >= static_cast<std::int64_t>(from_first.size())) return false;
  start_ += from_first[static_cast<std::size_t>(index)];
  axes_.erase(axes_.begin() + axis);
  return true;
}

std::vector<std::int64_t> StridedView::distances(int axis) const {
  std::vector<std::int64_t> result = {0};
  for (const Walk& walk : axes_[static_cast<std::size_t>(axis)]) {
    std::vector<std::int64_t> finer;
    for (const std::int64_t from : result) {
      for (std::int64_t i = 0; i < walk.extent; ++i) finer.push_back(from + i * walk.stride);
    }
    result = std::move(finer);
  }
  return result;
}

}  // namespace ember::plan
