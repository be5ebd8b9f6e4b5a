#include <cstdio>

#include <ember/ember.hpp>

int main() {
  const auto model = ember::Model::load("models/digits_cnn.onnx");
  const auto images = ember::open_samples("models/digits_heldout.npz");
  ember::Session session(model, {.threads = 2});
  const ember::TensorView image = session.input("image");
  images->read(0, 1, image.shape(), image.data<float>().data());
  session.run();  // allocates nothing once warm
  for (const float score : session.output("scores").data<float>()) std::printf("%.2f ", score);
  const ember::AuditReport report = ember::audit(model, *images);
  std::printf("\n%d of %d channels silent\n", int(report.count(ember::Verdict::Silent)),
              int(report.channels()));
}
