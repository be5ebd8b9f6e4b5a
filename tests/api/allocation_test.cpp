// A warm Session::run() must not allocate. Every allocation of this program passes through the counters
// below: operator new, and the C functions that the engine's aligned memory comes from.

#include <doctest/doctest.h>

#include <dlfcn.h>

#include <atomic>
#include <cstdlib>
#include <new>
#include <string>
#include <vector>

#include <ember/ember.hpp>

#include "support/zoo.hpp"

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

namespace {

std::atomic<long> allocations{0};

template <class Function>
Function next(const char* name) {
  return reinterpret_cast<Function>(::dlsym(RTLD_NEXT, name));
}

}  // namespace

// operator new, the STL, TBB and aligned_alloc all end in one of these.
extern "C" void* malloc(std::size_t size) {
  static const auto real = next<void* (*)(std::size_t)>("malloc");
  allocations.fetch_add(1, std::memory_order_relaxed);
  return real(size);
}
extern "C" void* aligned_alloc(std::size_t alignment, std::size_t size) {
  static const auto real = next<void* (*)(std::size_t, std::size_t)>("aligned_alloc");
  allocations.fetch_add(1, std::memory_order_relaxed);
  return real(alignment, size);
}
extern "C" int posix_memalign(void** to, std::size_t alignment, std::size_t size) {
  static const auto real = next<int (*)(void**, std::size_t, std::size_t)>("posix_memalign");
  allocations.fetch_add(1, std::memory_order_relaxed);
  return real(to, alignment, size);
}

namespace {

/// Allocations during `runs` warm runs.
long count_allocations(const std::filesystem::path& file, int threads, std::int64_t batch = 0) {
  const ember::Model model = ember::Model::load(file);
  ember::SessionOptions options{.threads = threads};
  if (batch != 0) {
    for (const ember::ValueInfo& input : model.inputs()) {
      std::vector<std::int64_t> dims;
      for (const ember::Dimension& dim : input.dims) dims.push_back(dim.size);
      dims[0] = batch;
      options.input_shapes.emplace(input.name, ember::Shape(dims));
    }
    options.micro_batch = 1;
  }
  ember::Session session(model, options);
  if (batch != 0) REQUIRE(session.batching().find("micro-batches of 1") != std::string::npos);
  // The scheduler's own structures come to rest after a few runs.
  for (int i = 0; i < 20; ++i) session.run();
  const long before = allocations.load();
  for (int i = 0; i < 10; ++i) session.run();
  return allocations.load() - before;
}

}  // namespace

TEST_CASE("the counter counts") {
  const long before = allocations.load();
  void* volatile plain = std::malloc(1);  // volatile: or the compiler leaves the pair out
  int* volatile object = new int(1);
  void* volatile aligned = std::aligned_alloc(64, 64);
  std::free(plain);
  delete object;
  std::free(aligned);
  CHECK(allocations.load() - before >= 3);
}

TEST_CASE("a warm run allocates nothing: bundled networks") {
  for (const char* name : {"digits_cnn", "digits_mlp", "digits_mlp_leaky"}) {
    for (const int threads : {1, 2}) {
      CAPTURE(name);
      CAPTURE(threads);
      CHECK(count_allocations(
                std::filesystem::path(EMBER_SOURCE_DIR "/models") / (std::string(name) + ".onnx"), threads) ==
            0);
    }
  }
}

TEST_CASE("a warm run allocates nothing: a batch in parts") {
  for (const int threads : {1, 2}) {
    CAPTURE(threads);
    CHECK(count_allocations(std::filesystem::path(EMBER_SOURCE_DIR "/models/digits_cnn.onnx"), threads, 8) ==
          0);
  }
}

TEST_CASE("a warm run allocates nothing: real networks of the fast path") {
  const std::filesystem::path zoo = ember::test::zoo_folder();
  if (zoo.empty()) {
    MESSAGE("skipped: no zoo (set EMBER_ZOO to its folder)");
    return;
  }
  for (const char* name :
       {"cifar10_resnet20_akamaster", "squeezenet11_imagenet_fp32_from_winml_fp16",
        "tfl_tf2_mobilenet_v2_1.0_224_ptq_fp32", "mnist_cntk_v8", "yunet_n_320", "yolox_nano_coco"}) {
    for (const int threads : {1, 2}) {
      CAPTURE(name);
      CAPTURE(threads);
      CHECK(count_allocations(zoo / "models" / (std::string(name) + ".onnx"), threads) == 0);
    }
  }
}

#else

TEST_CASE("a warm run allocates nothing") { MESSAGE("skipped: a sanitizer owns the allocator"); }

#endif
