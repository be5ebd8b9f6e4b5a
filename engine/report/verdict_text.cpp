#include "report/verdict_text.hpp"

namespace ember::report {

const std::array<VerdictText, 9> kVerdictTexts = {{
    {Verdict::ProvedDead, "Proved dead", "cannot fire for any input of the stated domain.",
     "Prune it: no input of the domain gives another output. To keep its capacity, revive it and train on."},
    {Verdict::Silent, "Silent",
     "fired in none of the samples. That bounds how often it fires on samples like these; it is no proof "
     "that it cannot.",
     "Audit with more and with other data, for the bound falls as 1 / samples. Then prune it, or train on "
     "with a lower learning rate, a higher bias or a leaky activation."},
    {Verdict::Refuted, "Silent on the data only",
     "fired in none of the samples, but an input that fires it is known.",
     "Keep it if inputs like the witness occur in use; otherwise treat it as silent."},
    {Verdict::Rare, "Rare", "fires, but in fewer samples than the limit.",
     "See whether the samples that fire it are outliers, or a rare class that needs it."},
    {Verdict::Dormant, "Dormant", "fires, but so weakly beside its layer that it hardly matters.",
     "Prune it and compare the accuracy, or draw its weights anew and train on."},
    {Verdict::Constant, "Constant", "puts out one value whatever the input: a bias in disguise.",
     "Fold the value into the layers that read it, and prune the channel."},
    {Verdict::Saturated, "Saturated",
     "is in a flat part at every position of every sample: no gradient passes.",
     "Scale down its weights, or normalise before the activation."},
    {Verdict::AlwaysOn, "Always on", "never leaves its linear part: no nonlinearity is used there.",
     "Nothing is wrong; a run of such channels is a linear map and may be merged with the next one."},
    {Verdict::Healthy, "Healthy", "shows none of these.", ""},
}};

const VerdictText& text_of(Verdict verdict) {
  for (const VerdictText& text : kVerdictTexts) {
    if (text.verdict == verdict) return text;
  }
  return kVerdictTexts.back();
}

}  // namespace ember::report
