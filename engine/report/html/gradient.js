// What a loss tells channels. Only pages of reports with a gradient view have this part; lines of the other
// parts that need it end in "with gradients", and are in those pages alone.

/** Of the samples that were back-propagated, the share that brings a channel a gradient; null: not known. */
function gradientShare(layer, i) {
  const samples = value(layer, "gradientSamples", i);
  return samples > 0 ? share(value(layer, "gradientArrived", i), samples) : null;
}

/** Names and texts for the details of a channel. */
function gradientFacts(layer, i) {
  const of = (column) => value(layer, column, i);
  if (gradientShare(layer, i) === null) return [["Gradient", "not known"]];
  return [["Samples that bring it a gradient", `${whole(of("gradientArrived"))} of ${whole(of("gradientSamples"))}`],
          ["Norm of its gradient", number(of("gradientNorm"))]];
}

/** What the map shows beside a scale of shares. */
function gradientLegend() {
  const none = element("span", { class: "silent" }, element("span", { class: "swatch", "aria-hidden": "true" }), "in none");
  const unknown = layers.some((layer) => layer.count && gradientShare(layer, 0) === null);
  return unknown ? [none, element("span", {}, "blank: not known")] : [none];
}
