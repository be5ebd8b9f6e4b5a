// The table of channels: sorted, filtered, searched, and shown page by page.

const table = (() => {
  const kPage = 50;
  const search = byId("search");
  const layerFilter = byId("layer-filter");
  const chips = byId("verdict-filter");
  const head = document.querySelector("#table thead tr");
  const body = document.querySelector("#table tbody");
  const found = byId("found");
  const channels = [];  // {layer, i} in the network's order
  for (const layer of layers) for (let i = 0; i < layer.count; ++i) channels.push({ layer, i });

  const columns = [
    { key: "layer", title: "Layer", get: ({ layer }) => layer.place },
    { key: "index", title: "Channel", number: true, get: ({ layer, i }) => indexOf(layer, i) },
    { key: "verdict", title: "Verdict", get: ({ layer, i }) => verdictOf(layer, i) },
    { key: "fired", title: "Samples fired", number: true, get: ({ layer, i }) => firedShare(layer, i), show: percent },
    { key: "active", title: "Positions", number: true, minor: true, get: ({ layer, i }) => activeShare(layer, i), show: percent },
    { key: "preMean", title: "Mean before", number: true, minor: true, show: number },
    { key: "preMax", title: "Largest before", number: true, minor: true, show: number },
    { key: "outMean", title: "Mean after", number: true, minor: true, show: number },
    { key: "dormancy", title: "ReDo score", number: true, minor: true, show: number },
    { key: "gradient", title: "Gradient", number: true, minor: true, get: ({ layer, i }) => gradientShare(layer, i), show: (x) => x === null ? "not known" : percent(x) },  // with gradients
  ];
  for (const column of columns) column.get ??= ({ layer, i }) => value(layer, column.key, i);

  let order = { column: columns[2], down: false };
  let shown = channels;
  let page = 0;
  let opened = null;

  function matches() {
    const chosen = new Set([...chips.querySelectorAll(":checked")].map((box) => Number(box.value)));
    const place = layerFilter.value === "" ? null : Number(layerFilter.value);
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const texts = new Map();
    const textOf = (layer) => {
      if (!texts.has(layer)) texts.set(layer, `${layer.node}\n${layer.op}\n${layer.value}`.toLowerCase());
      return texts.get(layer);
    };
    return ({ layer, i }) => {
      const verdict = verdictOf(layer, i);
      if (chosen.size && !chosen.has(verdict)) return false;
      if (place !== null && layer.place !== place) return false;
      return words.every((word) => /^\d+$/.test(word) ? Number(word) === indexOf(layer, i) :
        textOf(layer).includes(word) || wordsOf(verdict).includes(word) || verdicts[verdict].key.includes(word) ||
        (layer.causes.get(i)?.kind.includes(word) ?? false));
    };
  }

  function refresh() {
    shown = channels.filter(matches());
    const { column, down } = order;
    const sign = down ? -1 : 1;
    const keys = new Map(shown.map((channel) => [channel, column.get(channel)]));
    // Missing values come last either way; ties keep the network's order.
    shown.sort((a, b) => {
      const [x, y] = [keys.get(a), keys.get(b)];
      if (x === null || y === null) return (x === null) - (y === null);
      return sign * (x - y);
    });
    page = 0;
    opened = null;
    draw();
  }

  function details({ layer, i }) {
    const verdict = verdictOf(layer, i);
    const of = (column) => value(layer, column, i);
    const list = element("dl");
    const add = (name, text) => list.append(element("div", {}, element("dt", {}, name), element("dd", {}, text)));
    add("Operator", layer.op);
    add("Output", layer.value);
    add("Samples in which it fired", `${whole(of("fired"))} of ${whole(of("samples"))}`);
    add("Positions at which it fired", `${whole(of("active"))} of ${whole(of("positions"))}`);
    if (of("saturated") > 0) add("Samples saturated throughout", whole(of("saturated")));
    if (of("unseen") > 0) add("Positions not finite", whole(of("unseen")));
    if (of("bound") > 0) add(`Rate, with ${100 * data.confidence}% confidence`, `below ${Number((100 * of("bound")).toPrecision(2))}%`);
    add("Before the activation", `${number(of("preMin"))} to ${number(of("preMax"))}`);
    add("Mean and deviation before", `${number(of("preMean"))} and ${number(of("preDeviation"))}`);
    add("After it", `${number(of("outMin"))} to ${number(of("outMax"))}`);
    add("Mean after", number(of("outMean")));
    add("ReDo score", number(of("dormancy")));
    for (const [name, text] of gradientFacts(layer, i)) add(name, text);  // with gradients
    const { meaning, remedy } = verdicts[verdict];
    const cause = layer.causes.get(i);
    const why = cause ? [element("p", {}, element("strong", {}, `Cause: ${cause.kind}. `), `${cause.text}. ${cause.remedy}`)] : [];
    return element("div", { class: "detail" },
      element("p", {}, `The channel ${meaning}${remedy && !cause ? ` ${remedy}` : ""}`), ...why, list);
  }

  function row(channel) {
    const { layer, i } = channel;
    const open = opened === channel;
    const line = element("tr", open ? { class: "open" } : {});
    for (const column of columns) {
      const kind = [column.key, column.number ? "number" : "", column.minor ? "minor" : ""].filter(Boolean).join(" ");
      let content;
      if (column.key === "layer") {
        content = element("span", { class: "name" }, layer.label);
      } else if (column.key === "index") {
        content = element("button", { type: "button", class: "index", "aria-expanded": open,
          "aria-label": `channel ${indexOf(layer, i)} of ${layer.label}, details` }, String(indexOf(layer, i)));
        content.addEventListener("click", () => toggle(channel));
      } else if (column.key === "verdict") {
        content = tag(verdictOf(layer, i));
      } else {
        content = column.show(column.get(channel));
      }
      line.append(element("td", { class: kind }, content));
    }
    if (!open) return [line];
    return [line, element("tr", { class: "detail" }, element("td", { colspan: columns.length }, details(channel)))];
  }

  function toggle(channel) {
    opened = opened === channel ? null : channel;
    draw();
    const place = shown.indexOf(channel) - page * kPage;
    body.querySelectorAll("button.index")[place]?.focus();
  }

  function draw() {
    const pages = Math.max(1, Math.ceil(shown.length / kPage));
    page = Math.min(page, pages - 1);
    body.replaceChildren(...shown.slice(page * kPage, (page + 1) * kPage).flatMap(row));
    [...head.children].forEach((cell, i) => {
      if (columns[i] === order.column) cell.setAttribute("aria-sort", order.down ? "descending" : "ascending");
      else cell.removeAttribute("aria-sort");
    });
    const all = shown.length === channels.length;
    const text = `${all ? "" : `${whole(shown.length)} of `}${many(channels.length, "channel", "channels")}` +
      `, by ${order.column.title.toLowerCase()}${order.down ? ", largest first" : ""}`;
    if (found.textContent !== text) found.textContent = text;
    byId("page").textContent = `Page ${whole(page + 1)} of ${whole(pages)}`;
    byId("previous").disabled = page === 0;
    byId("next").disabled = page + 1 >= pages;
  }

  function turn(step) {
    page += step;
    opened = null;
    draw();
    byId("channels").scrollIntoView({ block: "start" });
  }

  function clear() {
    search.value = layerFilter.value = "";
    for (const box of chips.querySelectorAll(":checked")) box.checked = false;
  }

  /** Lists one layer, with one of its channels open. */
  function show(place, index) {
    clear();
    layerFilter.value = String(place);
    order = { column: columns[1], down: false };
    refresh();
    const i = shown.findIndex((channel) => indexOf(channel.layer, channel.i) === index);
    if (i < 0) return;
    page = Math.floor(i / kPage);
    opened = shown[i];
    draw();
    body.querySelector("tr.open button.index").focus();
  }

  function start() {
    fillLayerChoice(layerFilter);
    const counts = verdicts.map(() => 0);
    for (const { layer, i } of channels) counts[verdictOf(layer, i)]++;
    counts.forEach((n, verdict) => {
      if (n === 0) return;
      chips.append(element("label", { class: verdicts[verdict].key },
        element("input", { type: "checkbox", value: verdict }),
        element("span", { class: "swatch", "aria-hidden": "true" }), `${wordsOf(verdict)} ${whole(n)}`));
    });
    for (const column of columns) {
      const button = element("button", { type: "button" }, column.title);
      const kind = [column.number ? "number" : "", column.minor ? "minor" : ""].filter(Boolean).join(" ");
      head.append(element("th", { scope: "col", class: kind, "data-key": column.key }, button));
      button.addEventListener("click", () => {
        order = { column, down: order.column === column ? !order.down : false };
        refresh();
      });
    }
    for (const link of document.querySelectorAll(".verdicts a")) {
      link.addEventListener("click", () => {
        clear();
        const verdict = verdicts.findIndex((known) => known.key === link.dataset.verdict);
        chips.querySelector(`[value="${verdict}"]`).checked = true;
        refresh();
      });
    }
    let typing = 0;
    search.addEventListener("input", () => {
      clearTimeout(typing);
      typing = setTimeout(refresh, 120);
    });
    layerFilter.addEventListener("change", refresh);
    chips.addEventListener("change", refresh);
    byId("filters").addEventListener("submit", (event) => { event.preventDefault(); refresh(); });
    byId("filters").addEventListener("reset", () => setTimeout(refresh));
    byId("previous").addEventListener("click", () => turn(-1));
    byId("next").addEventListener("click", () => turn(1));
    refresh();
  }

  return { start, show };
})();
