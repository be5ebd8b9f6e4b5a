#include <filesystem>
#include <string>

#include <doctest/doctest.h>

#include <ember/audit.hpp>

#include "support/edited_model.hpp"
#include "support/scratch_folder.hpp"

using namespace ember;

namespace {

const std::filesystem::path kModels = std::filesystem::path(EMBER_SOURCE_DIR) / "models";

Model bundled(const std::string& name) { return Model::load(kModels / (name + ".onnx")); }

AuditReport audited(const Model& model) {
  const auto samples = open_samples(kModels / "digits_calibration.npz");
  return audit(model, *samples, {.samples = 50});
}

}  // namespace

TEST_CASE("fingerprints hold through renaming and re-export") {
  for (const char* name : {"digits_cnn", "digits_mlp", "digits_mlp_leaky"}) {
    CAPTURE(name);
    const test::ScratchFolder folder;
    test::renamed(bundled(name)).save(folder / "renamed.onnx");
    const AuditReport a = audited(bundled(name));
    const AuditReport b = audited(Model::load(folder / "renamed.onnx"));
    REQUIRE(a.layers().size() == b.layers().size());
    CHECK(a.model_hash != b.model_hash);
    for (std::size_t i = 0; i < a.layers().size(); ++i) {
      CHECK(a.layers()[i].node != b.layers()[i].node);
      CHECK(a.layers()[i].fingerprint == b.layers()[i].fingerprint);
      CHECK(a.layers()[i].fingerprint.size() == 16);
      for (std::size_t c = 0; c < a.layers()[i].channels.size(); ++c) {
        CHECK(a.layers()[i].channels[c].fingerprint == b.layers()[i].channels[c].fingerprint);
      }
    }
  }
}

TEST_CASE("a layer's fingerprint survives training, a channel's only while its weights do") {
  const AuditReport healthy = audited(bundled("digits_mlp_high_lr_step000"));
  const AuditReport dying = audited(bundled("digits_mlp_high_lr"));
  REQUIRE(healthy.layers().size() == dying.layers().size());
  for (std::size_t i = 0; i < healthy.layers().size(); ++i) {
    CHECK(healthy.layers()[i].fingerprint == dying.layers()[i].fingerprint);
    for (std::size_t c = 0; c < healthy.layers()[i].channels.size(); ++c) {
      CHECK(healthy.layers()[i].channels[c].fingerprint != dying.layers()[i].channels[c].fingerprint);
    }
  }
  CHECK(healthy.layers()[0].fingerprint != healthy.layers()[1].fingerprint);
}

TEST_CASE("fingerprints are unique, and changing one bias changes one channel of the layer") {
  const AuditReport before = audited(bundled("digits_mlp"));
  const AuditReport after = audited(test::with_dead_channel(bundled("digits_mlp"), 3));
  for (std::size_t i = 0; i < before.layers().size(); ++i) {
    const auto& a = before.layers()[i].channels;
    const auto& b = after.layers()[i].channels;
    for (std::size_t c = 0; c < a.size(); ++c) {
      CHECK((a[c].fingerprint == b[c].fingerprint) == !(i == 0 && c == 3));
      for (std::size_t other = 0; other < c; ++other) CHECK(a[c].fingerprint != a[other].fingerprint);
    }
  }
}
