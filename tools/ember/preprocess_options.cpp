#include "preprocess_options.hpp"

namespace ember::cli {

void PreprocessOptions::add_to(CLI::App& verb) {
  verb_ = &verb;
  const auto list = [&](const char* name, auto& values, const char* help, const char* form) {
    verb.add_option(name, values, help)->delimiter(',')->allow_extra_args(false)->option_text(form);
  };
  verb.add_option("--resize-short", given_.resize_short, "images: length of the shorter side")
      ->check(CLI::Range(1, 1 << 15))
      ->option_text("N");
  list("--size", given_.size, "images: crop to S x S, or resize to H x W", "S|H,W");
  verb.add_option("--color", given_.color, "images: order of the channels")
      ->check(CLI::IsMember({"RGB", "BGR", "GRAY"}))
      ->option_text("RGB|BGR|GRAY");
  verb.add_option("--scale", given_.scale, "every value is multiplied by it first")->option_text("X");
  list("--mean", given_.mean, "then subtracted, one for all or one per channel", "X[,X...]");
  list("--std", given_.std, "then divided by, one for all or one per channel", "X[,X...]");
  verb.add_option("--offset", given_.offset, "then added")->option_text("X");
  verb.add_option("--scale-after", given_.scale_after, "then multiplied by")->option_text("X");
}

Preprocessing PreprocessOptions::over(const std::string& file) const {
  Preprocessing result = file.empty() ? Preprocessing{} : Preprocessing::from_json_file(file);
  const auto take = [&](const char* name, auto Preprocessing::* member) {
    if (verb_->count(name) > 0) result.*member = given_.*member;
  };
  take("--resize-short", &Preprocessing::resize_short);
  take("--size", &Preprocessing::size);
  take("--color", &Preprocessing::color);
  take("--scale", &Preprocessing::scale);
  take("--mean", &Preprocessing::mean);
  take("--std", &Preprocessing::std);
  take("--offset", &Preprocessing::offset);
  take("--scale-after", &Preprocessing::scale_after);
  return result;
}

}  // namespace ember::cli
