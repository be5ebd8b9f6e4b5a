#include <cstddef>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <string_view>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <ember/report.hpp>

#include "sample_report.hpp"

using namespace ember;
using namespace ember::test;

namespace {

std::size_t times(const std::string& text, std::string_view part) {
  std::size_t n = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
  return n;
}

/// What the page's script is given.
nlohmann::json data_of(const std::string& page) {
  const std::string open = R"(<script type="application/json" id="data">)";
  const std::size_t begin = page.find(open) + open.size();
  return nlohmann::json::parse(page.substr(begin, page.find("</script>", begin) - begin));
}

/// A page without the parts that are the same for all.
std::string body_of(const std::string& page) {
  const std::size_t begin = page.find("<body>");
  return page.substr(begin, page.rfind("<script>") - begin);
}

/// The sample report with labels: the first layer is far from the loss, the second is dead but for one
/// channel.
AuditReport taught_report() {
  AuditReport report = sample_report();
  report.gradient = GradientReport{.output = "scores",
                                   .loss = "cross-entropy of softmax",
                                   .classes = 10,
                                   .samples = 64,
                                   .mean_loss = 0.25,
                                   .labelled = 200,
                                   .correct = 180};
  report.layer_reports[0].gradient = {.norm = 0.0002, .ratio = 0.0001, .vanishing = true, .saturated = 0.75};
  report.layer_reports[1].gradient = {.norm = 2, .ratio = 1};
  for (LayerReport& layer : report.layer_reports) {
    for (ChannelReport& channel : layer.channels) {
      channel.gradient = {.samples = 64, .samples_nonzero = 48, .norm = 1.0 / 3};
    }
  }
  for (const std::size_t c : {0U, 1U, 2U, 4U})
    report.layer_reports[1].channels[c].gradient.samples_nonzero = 0;
  return report;
}

}  // namespace

TEST_CASE("the page shows the summary, the layers with what feeds them, and what to do, without its script") {
  AuditReport report = sample_report();
  report.layer_reports[0].reads_input = true;
  report.layer_reports[1].predecessors = {0};
  const std::string body = body_of(to_html(report));
  CHECK(contains(body, "3 of 8 channels never fired."));
  CHECK(contains(body, "8 channels in 2 layers, watched on 200 samples of calibration.npz"));
  CHECK(contains(body, R"(<b>3</b> <a href="#channels" data-verdict="silent">silent</a>)"));
  CHECK(contains(body, "fired in 0 of 200 samples"));
  CHECK(contains(body, "What to do next"));
  CHECK(contains(body, "LSTM: gates"));
  CHECK(contains(body, R"(<li id="layer-2"><span class="place">2</span><span class="name">relu_2</span>)"));
  CHECK(contains(body, R"(from <a href="#input">input</a>)"));
  CHECK(contains(body, R"(from <a href="#layer-1">1</a>)"));
  CHECK(contains(body, R"(aria-label="3 silent, 3 healthy")"));
  CHECK(contains(body, "<noscript>"));
  CHECK_FALSE(contains(body, "{{"));
}

TEST_CASE("the page asks for nothing but itself") {
  const std::string page = to_html(sample_report());
  CHECK(contains(page, R"(content="default-src 'none'; script-src 'sha256-)"));
  CHECK_FALSE(contains(page, "unsafe-"));
  for (const char* way : {" src=", "url(", "@import", "fetch(", "XMLHttpRequest", "WebSocket", "import("}) {
    CHECK_MESSAGE(!contains(page, way), way);
  }
  CHECK(times(page, "http") == times(page, "http-equiv") + times(page, "http://www.w3.org/2000/svg"));
  CHECK(times(page, "href=") == times(page, "href=\"#") + times(page, "href=\"data:,\""));
  CHECK(times(page, " style=") == 0);  // the policy would not let them through
}

TEST_CASE("text from a model is text in the page, whatever it says") {
  const std::string bad = "</script><script>alert(1)</script><img src=x onerror=alert(2)>{{script}}\"'&\xff";
  AuditReport report = taught_report();
  report.gradient->output = report.gradient->loss = bad;
  report.model = report.data = report.isa = report.model_hash = report.data_hash = bad;
  report.notes = {bad};
  for (LayerReport& layer : report.layer_reports) {
    layer.node = layer.op = layer.value = layer.fingerprint = bad;
    layer.pattern = {bad, bad};
    for (ChannelReport& channel : layer.channels) channel.fingerprint = bad;
  }
  const std::string page = to_html(report);
  CHECK(times(page, "<script") == 2);
  CHECK(times(page, "</script") == 2);
  CHECK_FALSE(contains(page, "<img"));
  CHECK_FALSE(contains(page, "<script>alert"));
  CHECK(contains(page, "&lt;/script&gt;&lt;script&gt;alert(1)"));
  CHECK(contains(page, "{{script}}&quot;&#39;&amp;\xEF\xBF\xBD"));
  std::string shown = bad;
  shown.replace(shown.size() - 1, 1, "\xEF\xBF\xBD");
  CHECK(data_of(page)["layers"][1]["node"] == shown);
  const std::string section = page.substr(page.find(R"(<section id="gradient")"));
  CHECK(contains(section.substr(0, section.find("</section>")), "&lt;/script&gt;&lt;script&gt;alert(1)"));
}

TEST_CASE("the page's data are the report's") {
  AuditReport report = sample_report();
  ChannelStatistics& s = report.layer_reports[1].channels[4].statistics;
  s.positions_fired = 123;
  s.pre_sum = 800.0 / 3;
  s.pre_sum_squares = std::numeric_limits<double>::infinity();
  report.layer_reports[1].channels[5].statistics.not_finite = 800;
  report.layer_reports[1].predecessors = {0};
  const auto data = data_of(to_html(report));
  CHECK(data["samples"] == 200);
  const auto& layer = data["layers"][1];
  CHECK(layer["verdicts"] == "111888");
  CHECK(data["verdicts"][1]["key"] == "silent");
  CHECK(layer["predecessors"] == nlohmann::json::array({0}));
  CHECK(layer["samples"] == 200);  // the same for all
  CHECK(layer["fired"] == nlohmann::json({0, 0, 0, 120, 120, 120}));
  CHECK(layer["active"] == nlohmann::json({0, 0, 0, 0, 123, 0}));
  CHECK(layer["preMean"][4] == 0.3333);
  CHECK(layer["preDeviation"][4].is_null());
  CHECK(layer["preMin"][0] == -1.5);
  CHECK(layer["preMin"][5].is_null());  // nothing finite was seen
  CHECK(layer["bound"][2] == 0.0273);
  CHECK(layer["index"].empty());  // counted from 0
}

TEST_CASE("a page of 17,000 channels stays below 3 MB") {
  std::mt19937_64 random(1);
  std::uniform_real_distribution<double> real(-1, 1);
  AuditReport report = taught_report();
  report.layer_reports.clear();
  for (int i = 0; i < 34; ++i) {
    LayerReport layer{.node = "mobilenetv2_1.00_224/block_" + std::to_string(i) + "/Relu6", .op = "Clip"};
    for (std::int64_t c = 0; c < 500; ++c) {
      ChannelReport channel{.index = c, .verdict = Verdict::Rare, .rate_bound = real(random)};
      channel.dormancy = real(random);
      ChannelStatistics& s = channel.statistics;
      s.samples = 50'000;
      s.samples_fired = static_cast<std::int64_t>(random() % 50'000);
      s.positions = 50'000LL * 112 * 112;
      s.positions_fired = static_cast<std::int64_t>(random() % 627'200'000);
      const auto n = static_cast<double>(s.positions);
      for (double* value : {&s.pre_min, &s.pre_max, &s.out_min, &s.out_max}) *value = real(random);
      s.pre_sum = n * real(random);
      s.pre_sum_squares = 2 * n;
      s.out_sum = n * real(random);
      channel.gradient = {.samples = 4096,
                          .samples_nonzero = static_cast<std::int64_t>(random() % 4096),
                          .norm = real(random)};
      layer.channels.push_back(channel);
    }
    layer.gradient = {.norm = real(random), .ratio = real(random)};
    report.layer_reports.push_back(layer);
  }
  const std::string page = to_html(report);
  CHECK(data_of(page)["layers"].size() == 34);
  CHECK(page.size() < 3'000'000);
}

TEST_CASE("a report without channels, or without layers, is a page too") {
  AuditReport report = sample_report();
  for (LayerReport& layer : report.layer_reports) layer.channels.clear();
  CHECK(contains(to_html(report), "No channel could be watched."));
  report.layer_reports.clear();
  const std::string page = to_html(report);
  CHECK(contains(page, "0 channels in 0 layers"));
  CHECK(data_of(page)["layers"].empty());
}

TEST_CASE("what is wrong with a whole layer comes first, and causes have a table and their channels' lines") {
  AuditReport report = sample_report();
  const std::string before = to_html(report);
  CHECK_FALSE(contains(before, R"(<section id="causes")"));
  CHECK_FALSE(contains(before, "<p class=\"alarm\">"));
  report.explain_samples = 64;
  report.findings = {{.kind = Finding::Kind::DeadLayer, .node = "<relu_2>", .channels = 6, .samples = 200}};
  for (const std::size_t c : {0U, 2U}) {
    report.layer_reports[1].channels[c].explanation = {.cause = Cause::BiasDominated,
                                                       .remedy = Remedy::RaiseBias,
                                                       .counterfactual = {.edit = Edit::Bias,
                                                                          .from = -4,
                                                                          .to = -1,
                                                                          .samples = 64,
                                                                          .samples_fired = c == 0 ? 16 : 32},
                                                       .deviations = 7};
  }
  const std::string page = to_html(report);
  CHECK(page.find("Dead layer &lt;relu_2&gt;") < page.find("<b>3</b>"));
  CHECK(contains(page, R"(<a href="#causes">Causes</a>)"));
  CHECK(contains(page, R"(<th scope="row">bias dominated</th><td class="number">2</td>)"));
  CHECK(contains(page, R"(2 in <a href="#layer-2">layer 2</a>)"));
  CHECK(contains(page, R"(Channel 2 of <span class="name">relu_2</span>: its bias of -4)"));  // it fires most
  const auto causes = data_of(page)["layers"][1]["causes"];
  REQUIRE(causes.size() == 2);
  CHECK(causes[1][0] == 2);
  CHECK(causes[1][1] == "bias_dominated");
}

TEST_CASE("the discovery curve is drawn, told and tabled without the script") {
  AuditReport report = sample_report();
  CHECK_FALSE(contains(to_html(report), R"(id="discovery")"));
  report.discovery = {.trials = 2000,
                      .channels = 1500,
                      .fired = 1300,
                      .fired_once = 4,
                      .expected_next = 0.002,
                      .still_to_wake = 6,
                      .curve = {{1, 0}, {10, 750}, {1000, 1250}, {2000, 1300}}};
  const std::string body = body_of(to_html(report));
  CHECK(contains(body, R"(<a href="#discovery">Enough data?</a>)"));
  CHECK(contains(body, "1,300 of 1,500 channels fired; 50 of them for the first time after 1,000 samples."));
  CHECK(contains(body, "at least 6 more would wake"));
  CHECK(contains(body, R"(from 0 of 1,500 channels after the first sample to 1,300 after 2,000 samples.)"));
  CHECK(times(body, "<circle class=\"point\"") == 4);
  // Half of all channels is half the way up, and the first sample stands where the axis begins.
  CHECK(contains(body, R"(points="50.0,182.0 )"));
  CHECK(contains(body, ",100.0 "));
  CHECK(contains(body, ">1,000</text>"));
  CHECK(contains(body, R"(<td class="number">1,250</td><td class="number">500</td>)"));
  report.discovery.by_group = true;
  CHECK(contains(to_html(report), "Channels that had fired after so many groups"));
  report.discovery = {.trials = 1, .channels = 1, .curve = {{1, 0}}};  // one sample, which fired nothing
  CHECK(contains(to_html(report), R"(points="50.0,182.0")"));
}

TEST_CASE("what a loss tells the layers is told, drawn and tabled without the script") {
  const AuditReport report = taught_report();
  const std::string body = body_of(to_html(report));
  CHECK(contains(body, R"(<a href="#gradient">Gradient</a>)"));
  CHECK(contains(body, "mean loss 0.25. Accuracy 90% (180 of 200)."));
  const std::string first = R"(<li><a href="#layer-1">layer 1</a> <span class="name">relu_1</span>: )";
  const std::string second = R"(<li><a href="#layer-2">layer 2</a> <span class="name">relu_2</span>: )";
  CHECK(contains(body, first + "the gradient vanishes: its norm is 0.0001 of the largest"));
  CHECK(contains(body, first + "75% of its values lie where Relu is flat"));
  CHECK(contains(body, second + "no sample brings a gradient to 4 of 6 channels (0-2, 4)."));
  CHECK(contains(body, "from 0.0002 of layer 1 to 2 of layer 2"));
  CHECK(contains(body, ">0.0001</text>"));
  CHECK(contains(body, ">10</text>"));
  CHECK(contains(body, R"(<rect class="column none" )"));
  CHECK(contains(body, "<title>layer 1, relu_1: 0.0002, vanishing</title>"));
  CHECK(contains(body, "<title>layer 2, relu_2: 2</title>"));
  CHECK(contains(body, R"(<td class="number">0.0001, vanishing</td><td class="number">75%</td>)"));
  CHECK(contains(body, R"(<td class="number">4 of 6</td>)"));
}

TEST_CASE("a gradient that is zero or not known has no column, and the page says so") {
  AuditReport report = taught_report();
  report.layer_reports[0].gradient.reset();
  for (ChannelReport& channel : report.layer_reports[0].channels) channel.gradient = {};
  report.layer_reports[1].gradient = LayerGradient{};
  for (ChannelReport& channel : report.layer_reports[1].channels) channel.gradient.samples_nonzero = 0;
  const std::string page = to_html(report);
  CHECK(contains(page, "no sample brings a gradient to any of its 6 channels."));
  CHECK(contains(page, "1 without a column: no gradient at all. 1 without a column: not known."));
  CHECK(contains(page, "norm: none above 0."));
  CHECK_FALSE(contains(page, R"(<rect class="column)"));
  CHECK(contains(page, R"(<td colspan="3">not known</td>)"));
  CHECK(data_of(page)["layers"][0]["gradientSamples"] == 0);
  report.layer_reports.clear();
  CHECK(contains(to_html(report), "Every channel gets a gradient"));
}

TEST_CASE("only a report with labels has a page with gradients") {
  const std::string without = to_html(sample_report());
  for (const char* part :
       {"gradientShare", "gradient-mode", "id=\"gradient\"", "#gradient", "with gradients"}) {
    CHECK_MESSAGE(!contains(without, part), part);
  }
  CHECK_FALSE(data_of(without)["layers"][0].contains("gradientSamples"));
  const std::string with = to_html(taught_report());
  CHECK(contains(with, R"(<option value="gradient">)"));
  CHECK(contains(with, "gradient: gradientShare,\n"));
  CHECK_FALSE(contains(with, "  // with gradients"));
  CHECK_FALSE(contains(with, "/* with gradients"));
  const auto layer = data_of(with)["layers"][1];
  CHECK(layer["gradientSamples"] == 64);
  CHECK(layer["gradientArrived"] == nlohmann::json({0, 0, 0, 48, 0, 48}));
  CHECK(layer["gradientNorm"] == 0.3333);
}
