#include <ember/revive.hpp>

#include <nlohmann/json.hpp>

namespace ember {

std::string touched_json(const ReviveResult& result) {
  using Json = nlohmann::ordered_json;
  Json json = {{"schema", "ember-touched-1"}, {"touched", Json::array()}};
  for (const TouchedSlice& slice : result.touched) {
    json["touched"].push_back({{"tensor", slice.tensor}, {"axis", slice.axis}, {"index", slice.index}});
  }
  // A name in a model may be anything; what is not UTF-8 is shown as a replacement character.
  return json.dump(1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace ember
