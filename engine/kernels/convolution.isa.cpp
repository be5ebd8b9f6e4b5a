#include "kernels/convolution.hpp"

#include "kernels/conv_rows.hpp"
#include "kernels/pointwise.hpp"
#include "kernels/register_tile.hpp"
#include "kernels/tile_epilogue.hpp"

namespace ember::kernels::EMBER_ISA_NAMESPACE {

void run_depthwise(const DepthwiseJob& job, std::int64_t row_begin, std::int64_t row_end);

namespace {

constexpr std::int64_t kBlocksPerTile = kTileColumns / kBlock;

/// The taps of a convolution of a plain image with few channels, which are too
/// few per row for loops: a list of where they are, in the image and in a patch
/// that holds what sticks out: the whole window of a small image, or a tile's.
class TapList {
 public:
  static constexpr std::int64_t kMost = 512;
  static constexpr std::int64_t kPatch = 4096;

  explicit TapList(const ConvJob& job) : job_(job) {
    const auto& [depth, height, width] = job.axes;
    const std::int64_t tap_rows = job.channels * depth.taps * height.taps;
    const bool forward = depth.tap_step > 0 && height.tap_step > 0 && width.tap_step > 0;
    const bool near = job.channels * job.channel_stride < INT32_MAX;
    if (job.lanes != 1 || !forward || !near || tap_rows * width.taps > kMost) return;
    whole_ = job.channels * extent(depth, depth.output) * extent(height, height.output) *
                 extent(width, width.output) <=
             kPatch;
    if (whole_) {
      width_ = extent(width, width.output);
      rows_ = extent(height, height.output);
      planes_ = extent(depth, depth.output);
      row_step_ = plane_step_ = 1;
    } else {
      width_ = extent(width, kTileRows);
      rows_ = height.taps;
      planes_ = depth.taps;
      row_step_ = height.tap_step;
      plane_step_ = depth.tap_step;
      if (tap_rows * width_ > kPatch) return;
    }
    for (std::int64_t c = 0; c < job.channels; ++c) {
      for (std::int64_t d = 0; d < depth.taps; ++d) {
        for (std::int64_t h = 0; h < height.taps; ++h) {
          const std::int64_t in = c * job.channel_stride + d * depth.tap_step * depth.in_stride +
                                  h * height.tap_step * height.in_stride;
          const std::int64_t plane = c * planes_ + d * depth.tap_step / plane_step_;
          const std::int64_t row = plane * rows_ + h * height.tap_step / row_step_;
          for (std::int64_t t = 0; t < width.taps; ++t, ++count_) {
            image_[count_] = static_cast<std::int32_t>(in + t * width.tap_step * width.in_stride);
            patch_[count_] = static_cast<std::int32_t>(row * width_ + t * width.tap_step);
          }
        }
      }
    }
    if (whole_) fill(depth.in_offset, height.in_offset, width.in_offset, width_);
  }

  [[nodiscard]] std::int64_t count() const { return count_; }
  [[nodiscard]] const std::int32_t* in_image() const { return image_; }
  [[nodiscard]] const std::int32_t* in_patch() const { return patch_; }

  /// The window of `pixels` outputs whose first tap is at (z, y, x), zeros where it is off the image.
  const float* window(std::int64_t z, std::int64_t y, std::int64_t x, std::int64_t pixels) {
    const auto& [depth, height, width] = job_.axes;
    if (!whole_) {
      fill(z, y, x, extent(width, pixels));
      return window_;
    }
    const std::int64_t row = (z - depth.in_offset) * rows_ + y - height.in_offset;
    return window_ + row * width_ + x - width.in_offset;
  }

 private:
  /// The patch's rows, `extent` positions of each, from position (z, y, x) on.
  void fill(std::int64_t z, std::int64_t y, std::int64_t x, std::int64_t extent) {
    const auto& [depth, height, width] = job_.axes;
    const std::int64_t begin = smaller(extent, larger(0, -x));
    const std::int64_t end = larger(begin, smaller(extent, width.input - x));
    float* to = window_;
    for (std::int64_t c = 0; c < job_.channels; ++c) {
      for (std::int64_t d = 0; d < planes_; ++d) {
        const std::int64_t at_depth = z + d * plane_step_;
        for (std::int64_t h = 0; h < rows_; ++h, to += width_) {
          const std::int64_t at_height = y + h * row_step_;
          const bool on =
              at_depth >= 0 && at_depth < depth.input && at_height >= 0 && at_height < height.input;
          // Whole vectors, beyond the row's end too: the next row overwrites what is there.
          for (std::int64_t i = 0; i < extent; i += kLanes) store(to + i, broadcast(0.0F));
          if (!on) continue;
          const float* row = job_.input + c * job_.channel_stride + at_depth * depth.in_stride +
                             at_height * height.in_stride;
          if (width.in_stride == 1) {
            for (std::int64_t i = begin; i < end; i += kLanes) {
              const std::int64_t lanes = smaller(kLanes, end - i);
              store_partial(to + i, load_partial(row + x + i, lanes), lanes);
            }
          } else {
            for (std::int64_t i = begin; i < end; ++i) to[i] = row[(x + i) * width.in_stride];
          }
        }
      }
    }
  }

  /// Input positions that `outputs` neighbouring outputs meet.
  static std::int64_t extent(const ConvAxis& axis, std::int64_t outputs) {
    return (outputs - 1) * axis.in_step + (axis.taps - 1) * axis.tap_step + 1;
  }

  const ConvJob& job_;
  bool whole_ = false;                              ///< the patch holds the whole image, padding included
  std::int64_t width_ = 0, rows_ = 0, planes_ = 0;  ///< of the patch
  std::int64_t row_step_ = 1, plane_step_ = 1;      ///< input positions between them
  std::int64_t count_ = 0;
  std::int32_t image_[kMost];
  std::int32_t patch_[kMost];
  float window_[kPatch + kLanes];
};

/// Floats of packed weights that one strip after the other passes over, next to as many that are on their
/// way: what L2 has room for.
constexpr std::int64_t kWeightsAtOnce = 48 << 10;

/// A job's loops, set up once; aimed at one strip after the other.
class StripRunner {
 public:
  /// Of `strips` strips, one column tile and channel steps [channel_begin, channel_end).
  StripRunner(const ConvJob& job, const CountedEpilogue& counted, TapList& taps, std::int64_t tile,
              std::int64_t channel_begin, std::int64_t channel_end, std::int64_t strips)
      : job_(job), taps_(taps), width_(job.axes[2]) {
    const std::int64_t row = job.lanes * kTileColumns;
    const std::int64_t kernel = job.axes[0].taps * job.axes[1].taps * width_.taps;
    tap_rows_[2] = row;
    tap_rows_[1] = row * width_.taps;
    tap_rows_[0] = tap_rows_[1] * job.axes[1].taps;
    interior_ = interior_of(width_);
    const std::int64_t blocks = smaller(kBlocksPerTile, job.blocks - tile * kBlocksPerTile);
    vectors_ = blocks * kVectorsPerBlock;
    const std::int64_t channel = tile * kTileColumns;
    const std::int64_t count = channel_end - channel_begin;
    weights_ = job.weights + (tile * job.channels + channel_begin) * kernel * row;
    input_ = job.input + channel_begin * job.channel_stride;
    output_ = tile * kBlocksPerTile * job.out_block;
    channels_ = {count, job.channel_stride, kernel * row};
    // The weights needed next come during the first few strips.
    constexpr std::int64_t kMostSharing = 4;
    size_ = count * kernel * row;
    if (size_ <= kWeightsAtOnce) sharing_ = smaller(strips, kMostSharing);
    work_.resume = channel_begin > 0;
    work_.partial = channel_end < job.channels;
    if (!work_.partial && job.epilogue.watched()) {
      if (counted.applies()) work_.counted = &counted;
      else work_.partial = finishes_ = true;
    }
    work_.a_row = width_.in_step * width_.in_stride;
    work_.x_row = width_.in_step;
    work_.x_tap = width_.tap_step;
    work_.x_limit = width_.input;
    work_.x_pixel = width_.in_stride;
    work_.c_row = width_.out_stride;
    work_.c_block = job.out_block;
    work_.channel = job.channel + channel;
    work_.bias = job.epilogue.bias == nullptr ? nullptr : job.epilogue.bias + channel;
    work_.before = &job.epilogue.before;
    work_.after = &job.epilogue.after;
    set_inner_loops();
  }

  /// For input that is not in L2 yet.
  void fetch_input_ahead() { work_.fetch_ahead = true; }

  void aim_row(std::int64_t row) {
    const ConvAxis& depth = job_.axes[0];
    const ConvAxis& height = job_.axes[1];
    const std::int64_t at_depth = row / height.output;
    const std::int64_t at_height = row % height.output;
    const AxisTaps d = taps_at(depth, at_depth);
    const AxisTaps h = taps_at(height, at_height);
    depth_position_ = d.position;
    height_position_ = h.position;
    whole_window_ = d.count == depth.taps && h.count == height.taps;
    input_row_ = input_ + (d.position + d.begin * depth.tap_step) * depth.in_stride +
                 (h.position + h.begin * height.tap_step) * height.in_stride;
    work_.b = weights_ + d.begin * tap_rows_[0] + h.begin * tap_rows_[1];
    depth_ = {d.count, depth.tap_step * depth.in_stride, tap_rows_[0]};
    height_ = {h.count, height.tap_step * height.in_stride, tap_rows_[1]};
    output_row_ = output_ + at_depth * depth.out_stride + at_height * height.out_stride;
  }

  /// Whether a strip has only one vector of channels, and room for a second strip in its registers.
  [[nodiscard]] bool narrow() const { return vectors_ == 1 && inner_walk_ == TileWalk::Neighbours; }

  [[nodiscard]] bool at_border(std::int64_t first, std::int64_t pixels) const {
    return first < interior_.begin || first + pixels > interior_.end;
  }

  void run(std::int64_t first, std::int64_t pixels) {
    const bool bordered = at_border(first, pixels);
    const std::int64_t x = first * width_.in_step + width_.in_offset;
    const std::int64_t out = output_row_ + first * width_.out_stride;
    work_.c = job_.output + out;
    work_.residual = job_.epilogue.residual == nullptr ? nullptr : job_.epilogue.residual + out;
    aim_ahead();
    if (taps_.count() > 0) {
      run_listed(x, pixels, bordered || !whole_window_);
      return;
    }
    if (bordered) {
      work_.x = x;
      work_.a = input_row_;
      work_.a_step = 1;
      work_.depth = job_.lanes;
      set_levels({width_.taps, 0, tap_rows_[2]}, true);
    } else {
      work_.a = input_row_ + x * width_.in_stride;
      work_.a_step = inner_step_;
      work_.depth = inner_depth_;
      set_levels(inner_, false);
    }
    register_tile(pixels, vectors_, bordered ? TileWalk::Bordered : inner_walk_)(work_);
  }

  /// What is watched is left to finish().
  [[nodiscard]] bool finishes() const { return finishes_; }

  /// The epilogue on outputs [begin, end), counted row by row, which run() has stored without it because
  /// something of it is watched.
  void finish(std::int64_t begin, std::int64_t end) const {
    for (std::int64_t v = 0; v < vectors_; ++v) {
      const std::int64_t out =
          output_ + begin * kBlock + v / kVectorsPerBlock * job_.out_block + v % kVectorsPerBlock * kLanes;
      const float* residual = job_.epilogue.residual == nullptr ? nullptr : job_.epilogue.residual + out;
      finish_watched(job_.epilogue, {job_.output + out, 1, 0, end - begin, kBlock}, residual,
                     work_.channel + v * kLanes);
    }
  }

 private:
  /// Each of the first strips fetches its share of the next tile's weights.
  void aim_ahead() {
    if (sharing_ == 0) return;
    const std::int64_t part = smaller(done_, sharing_ - 1);
    work_.ahead = weights_ + size_ + size_ / sharing_ * part;
    work_.ahead_step = done_ < sharing_ ? kTileColumns / sharing_ : 0;
    ++done_;
  }

  void run_listed(std::int64_t x, std::int64_t pixels, bool sticks_out) {
    work_.b = weights_;
    work_.depth = taps_.count();
    if (sticks_out) {
      work_.a = taps_.window(depth_position_, height_position_, x, pixels);
      work_.a_row = width_.in_step;
      work_.offsets = taps_.in_patch();
    } else {
      work_.a = input_row_ + x * width_.in_stride;
      work_.a_row = width_.in_step * width_.in_stride;
      work_.offsets = taps_.in_image();
    }
    register_tile(pixels, vectors_, TileWalk::Listed)(work_);
  }

  /// Taps along the width and lanes make one loop where they are evenly spaced
  /// in memory.
  void set_inner_loops() {
    const std::int64_t tap = width_.tap_step * width_.in_stride;
    if (width_.taps == 1 || (job_.lanes > 1 && tap != job_.lanes * job_.lane_stride)) {
      inner_ = {width_.taps, tap, tap_rows_[2]};
      inner_depth_ = job_.lanes;
      inner_step_ = job_.lane_stride;
    } else {
      inner_ = {1, 0, 0};
      inner_depth_ = width_.taps * job_.lanes;
      inner_step_ = job_.lanes == 1 ? tap : job_.lane_stride;
    }
    if (work_.a_row == kBlock && inner_step_ == 1) inner_walk_ = TileWalk::Neighbours;
  }

  /// Loops that run once are moved outermost, where they cost nothing. That of
  /// the width stays innermost at a border, which is where tiles look for it.
  void set_levels(const TileLevel& width, bool bordered) {
    const TileLevel all[] = {channels_, depth_, height_, width};
    int at = 3;
    if (bordered) work_.levels[at--] = width;
    for (int i = bordered ? 2 : 3; i >= 0; --i) {
      if (all[i].count != 1) work_.levels[at--] = all[i];
    }
    while (at >= 0) work_.levels[at--] = {1, 0, 0};
  }

  const ConvJob& job_;
  TapList& taps_;
  const ConvAxis& width_;
  TileWork work_;
  std::int64_t tap_rows_[3] = {};  ///< floats of packed weights per tap of each axis
  TileLevel channels_, depth_, height_, inner_;
  std::int64_t inner_depth_ = 0;
  std::int64_t inner_step_ = 0;
  TileWalk inner_walk_ = TileWalk::Levels;
  std::int64_t size_ = 0;     ///< floats of weights
  std::int64_t sharing_ = 0;  ///< strips that share the fetching of the next tile
  std::int64_t done_ = 0;
  Interior interior_;
  std::int64_t vectors_ = 0;
  const float* weights_ = nullptr;
  const float* input_ = nullptr;
  const float* input_row_ = nullptr;
  std::int64_t output_ = 0;
  std::int64_t output_row_ = 0;
  std::int64_t depth_position_ = 0,
               height_position_ = 0;  ///< of the first tap, on the input or not
  bool whole_window_ = false;
  bool finishes_ = false;
};

/// Channel steps to sum at a time.
std::int64_t channels_at_once(const ConvJob& job, const TapList& taps, std::int64_t strips) {
  if (taps.count() > 0 || strips == 1) return job.channels;
  const std::int64_t kernel = job.axes[0].taps * job.axes[1].taps * job.axes[2].taps;
  const std::int64_t most = larger(1, kWeightsAtOnce / larger(1, kernel * job.lanes * kTileColumns));
  const std::int64_t parts = (job.channels + most - 1) / most;
  return (job.channels + parts - 1) / parts;
}

/// Strips [strip_begin, strip_end) of one column tile and some channels.
void run_strips(const ConvJob& job, StripRunner& runner, std::int64_t strip_begin, std::int64_t strip_end) {
  const std::int64_t width = job.axes[2].output;
  const std::int64_t per_row = (width + kTileRows - 1) / kTileRows;
  std::int64_t part = strip_begin % per_row;
  std::int64_t row = strip_begin / per_row;
  runner.aim_row(row);
  // What is watched is finished some tiles at a time, which are still in L1.
  std::int64_t done = row * width + width * part / per_row;
  for (std::int64_t strip = strip_begin; strip < strip_end; ++strip, ++part) {
    if (part == per_row) {
      part = 0;
      runner.aim_row(++row);
    }
    // Tiles of a row are as equal as possible.
    const std::int64_t first = width * part / per_row;
    std::int64_t pixels = width * (part + 1) / per_row - first;
    if (runner.narrow() && part + 1 < per_row && strip + 1 < strip_end) {
      const std::int64_t both = width * (part + 2) / per_row - first;
      if (!runner.at_border(first, both)) {
        pixels = both;
        ++part;
        ++strip;
      }
    }
    runner.run(first, pixels);
    if (!runner.finishes()) continue;
    const std::int64_t reached = row * width + first + pixels;
    if (reached - done + kTileRows <= kChunk && strip + 1 < strip_end) continue;
    runner.finish(done, reached);
    done = reached;
  }
}

void run(const ConvJob& job, std::int64_t strip_begin, std::int64_t strip_end, std::int64_t tile_begin,
         std::int64_t tile_end) {
  if (is_narrow_pointwise(job)) {
    const std::int64_t width = job.axes[2].output;
    const std::int64_t per_row = (width + kTileRows - 1) / kTileRows;
    run_pointwise(job, width * strip_begin / per_row, width * strip_end / per_row, tile_begin, tile_end);
    return;
  }
  TapList taps(job);
  const CountedEpilogue counted(job.epilogue);
  const std::int64_t strips = strip_end - strip_begin;
  const std::int64_t at_once = channels_at_once(job, taps, strips);
  for (std::int64_t tile = tile_begin; tile < tile_end; ++tile) {
    for (std::int64_t channel = 0; channel < job.channels; channel += at_once) {
      StripRunner runner(job, counted, taps, tile, channel, smaller(channel + at_once, job.channels), strips);
      if (tile == tile_begin) runner.fetch_input_ahead();
      run_strips(job, runner, strip_begin, strip_end);
    }
  }
}

}  // namespace

extern const ConvKernels kConv;
const ConvKernels kConv = {
    .tile = {.rows = kTileRows, .columns = kTileColumns},
    .run = run,
    .depthwise = run_depthwise,
};

}  // namespace ember::kernels::EMBER_ISA_NAMESPACE
