#include "options.hpp"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <ember/error.hpp>
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

void add_explain_samples(CLI::App& verb, std::int64_t& samples) {
  verb.add_option(
          "--explain-samples", samples,
          "how many samples each counterfactual is run on (default: 16 to 256, by the cost of the network)")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 40))
      ->option_text("N");
}

namespace {

/// "1x3x640x640".
Shape parse_shape(std::string_view text, const std::string& option) {
  std::vector<std::int64_t> dims;
  for (std::string_view rest = text; !rest.empty();) {
    std::int64_t size = 0;
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), size);
    const auto used = static_cast<std::size_t>(end - rest.data());
    const bool more = used < rest.size() && rest[used] == 'x' && used + 1 < rest.size();
    if (error != std::errc{} || size < 1 || (used < rest.size() && !more)) {
      throw Error(ErrorCode::InvalidArgument, fmt::format("--shape '{}' holds no shape", option),
                  {.cure = "write extents with x between them, as in --shape image=1x3x640x640"});
    }
    dims.push_back(size);
    rest.remove_prefix(used + (more ? 1 : 0));
  }
  return Shape(dims);
}

}  // namespace

void ShapeOption::add_to(CLI::App& verb) {
  verb.add_option("--shape", texts_,
                  "an input's extents, as in image=1x3x640x640; a sole input needs no NAME=")
      ->take_all()
      ->allow_extra_args(false)
      ->option_text("[NAME=]SHAPE");
}

std::map<std::string, Shape> ShapeOption::of(const Model& model) const {
  std::map<std::string, Shape> shapes;
  const std::vector<ValueInfo> inputs = model.inputs();
  for (const std::string& text : texts_) {
    const std::size_t equals = text.rfind('=');
    if (equals == std::string::npos && inputs.size() == 1) {
      shapes[inputs.front().name] = parse_shape(text, text);
      continue;
    }
    const std::string name = text.substr(0, equals == std::string::npos ? 0 : equals);
    if (std::ranges::find(inputs, name, &ValueInfo::name) == inputs.end()) {
      throw Error(ErrorCode::InvalidArgument, fmt::format("--shape '{}' names no input of the model", text),
                  {.model = model.name(), .cure = "`ember info` lists the inputs"});
    }
    shapes[name] = parse_shape(std::string_view(text).substr(equals + 1), text);
  }
  return shapes;
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

void JsonOption::emit_text(std::string json) const {
  if (!given()) return;
  json += '\n';
  if (on_output()) put(json);
  else write_file(file_, json);
}

void add_example(CLI::App& verb, const std::string& example) { verb.footer("Example:\n  " + example); }

}  // namespace ember::cli
