#include "options.hpp"

#include <nlohmann/json.hpp>

#include <ember/file.hpp>

#include "output.hpp"

namespace ember::cli {

void add_model(CLI::App& verb, std::string& model) {
  verb.add_option("MODEL", model, "the network, an ONNX file")->required()->option_text(" ");
}

void add_threads(CLI::App& verb, int& threads) {
  verb.add_option("--threads", threads, "worker threads; 0: one per processor (default 1)")
      ->check(CLI::Range(0, 1024))
      ->option_text("N");
}

void add_batch(CLI::App& verb, std::int64_t& batch) {
  verb.add_option("--batch", batch, "samples per run (default: as the model says)")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 20))
      ->option_text("N");
}

void add_samples(CLI::App& verb, std::int64_t& samples) {
  verb.add_option("--samples", samples, "use the first N samples only")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 40))
      ->option_text("N");
}

void add_data(CLI::App& verb, std::string& data, std::string& preprocess) {
  verb.add_option("--data", data,
                  ".npy, .npz (array named as the input, or x), IDX (also .gz), or a folder of images")
      ->option_text("PATH");
  verb.add_option("--preprocess", preprocess,
                  "JSON file: resize_short, size, color, scale, mean, std, offset, scale_after, label_offset")
      ->option_text("FILE");
}

void JsonOption::add_to(CLI::App& verb) {
  option_ = verb.add_option("--json", file_, "print JSON instead of text, or write it to FILE")
                ->expected(0, 1)
                ->option_text("[FILE]");
}

void JsonOption::emit(const nlohmann::ordered_json& json) const {
  // A name in a model may be anything; what is not UTF-8 is shown as a replacement character.
  emit_text(json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
}

void JsonOption::emit_text(const std::string& json) const {
  if (!given()) return;
  if (on_output()) put("{}\n", json);
  else write_file(file_, json + "\n");
}

void add_example(CLI::App& verb, const std::string& example) { verb.footer("Example:\n  " + example); }

}  // namespace ember::cli
