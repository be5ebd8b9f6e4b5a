// How often channels fire: two histograms, of all channels or of one layer's.

const histograms = (() => {
  const choice = byId("histogram-layer");
  const logarithmic = byId("histogram-log");
  const kBins = 20;

  /** Counts of shares: none at all, then 20 equal bins between, then always. */
  function binned(chosen, shareOf) {
    const counts = new Array(kBins + 2).fill(0);
    for (const layer of chosen) {
      for (let i = 0; i < layer.count; ++i) {
        const x = shareOf(layer, i);
        counts[x <= 0 ? 0 : x >= 1 ? kBins + 1 : 1 + Math.min(kBins - 1, Math.floor(x * kBins))]++;
      }
    }
    return counts;
  }

  function nameOf(bin) {
    if (bin === 0) return "never (0%)";
    if (bin === kBins + 1) return "always (100%)";
    const step = 100 / kBins;
    return `${bin === 1 ? "over 0" : (bin - 1) * step}% to ${bin === kBins ? "under 100" : `under ${bin * step}`}%`;
  }

  function ticks(top, log) {
    if (log) return Array.from({ length: Math.floor(Math.log10(top)) + 1 }, (_, i) => 10 ** i);
    const rough = top / 3;
    const unit = 10 ** Math.floor(Math.log10(rough));
    const step = Math.max(1, [1, 2, 5, 10].find((n) => n * unit >= rough) * unit);
    return Array.from({ length: Math.floor(top / step) }, (_, i) => (i + 1) * step);
  }

  function figure(holder, caption, unit, counts) {
    const total = counts.reduce((sum, n) => sum + n, 0);
    const top = Math.max(1, ...counts);
    const log = logarithmic.checked;
    const [width, height, left, right, above, below] = [440, 220, 50, 10, 18, 34];
    const scale = (n) => log ? Math.log10(1 + n) / Math.log10(1 + top) : n / top;
    const y = (n) => height - below - scale(n) * (height - above - below);
    const pitch = (width - left - right) / (kBins + 4);  // the ends stand apart
    const x = (bin) => left + pitch * (bin === 0 ? 0.25 : bin === kBins + 1 ? bin + 1.75 : bin + 1);
    const open = holder.querySelector("details")?.open;
    const summary = `${percent(share(counts[0], total))} of ${many(total, "channel", "channels")} in none, ` +
      `${percent(share(counts[kBins + 1], total))} in all`;
    const svg = drawing("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${caption}: ${summary}. The table below has the numbers.` });
    for (const n of ticks(top, log)) {
      svg.append(drawing("line", { class: "grid", x1: left, x2: width - right, y1: y(n), y2: y(n) }),
                 drawing("text", { x: left - 6, y: y(n) + 4, "text-anchor": "end" }, whole(n)));
    }
    counts.forEach((n, bin) => {
      const tall = n > 0 ? Math.max(1.5, height - below - y(n)) : 0;
      svg.append(drawing("rect", { class: bin === 0 ? "column none" : "column", x: x(bin) + 0.75, y: height - below - tall, width: pitch - 1.5, height: tall },
                         drawing("title", {}, `${nameOf(bin)}: ${many(n, "channel", "channels")}`)));
    });
    svg.append(drawing("line", { class: "axis", x1: left, x2: width - right, y1: height - below, y2: height - below }));
    const label = (bin, shift, text) =>
      svg.append(drawing("text", { x: x(bin) + pitch * shift, y: height - below + 15, "text-anchor": "middle" }, text));
    label(0, 0.5, "0%");
    label(6, 0, "25%");
    label(11, 0, "50%");
    label(16, 0, "75%");
    label(kBins + 1, 0.5, "100%");
    svg.append(drawing("text", { x: (left + width - right) / 2, y: height - 3, "text-anchor": "middle" }, unit));
    const body = element("tbody");
    counts.forEach((n, bin) => {
      if (n > 0) body.append(element("tr", {}, element("th", { scope: "row" }, nameOf(bin)), element("td", { class: "number" }, whole(n))));
    });
    const numbers = element("details", open ? { open: "" } : {}, element("summary", {}, "As a table"),
      element("table", {}, element("thead", {}, element("tr", {}, element("th", { scope: "col" }, unit), element("th", { scope: "col", class: "number" }, "channels"))), body));
    holder.replaceChildren(element("figcaption", {}, caption), element("p", {}, `${summary}.`), svg, numbers);
  }

  function draw() {
    const chosen = choice.value === "" ? layers : [layers[Number(choice.value)]];
    const samples = binned(chosen, firedShare);
    const positions = binned(chosen, activeShare);
    figure(byId("histogram-samples"), "Samples in which a channel fires", "share of samples", samples);
    figure(byId("histogram-positions"), "Positions at which a channel fires", "share of positions", positions);
    // Without feature maps a sample is one position, and one picture says it.
    byId("histogram-positions").hidden = samples.join() === positions.join();
  }

  function start() {
    choice.append(element("option", { value: "" }, "all layers"));
    fillLayerChoice(choice);
    // Heights that differ a hundredfold cannot be told apart from none on an even scale.
    const heights = [...binned(layers, firedShare), ...binned(layers, activeShare)].filter((n) => n > 0);
    logarithmic.checked = Math.max(...heights) > 100 * Math.min(...heights);
    choice.addEventListener("change", draw);
    logarithmic.addEventListener("change", draw);
    draw();
  }

  return { start };
})();
