// The map of all channels: a cell for each, layer by layer.

const map = (() => {
  const grid = byId("map-grid");
  const mode = byId("map-mode");
  const readout = byId("map-readout");
  const legend = byId("map-legend");
  const cursor = element("div", { class: "cursor", hidden: "" });
  const strips = [];  // {layer, canvas, columns}
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  let cell = 10;
  let at = null;  // {place, i}

  /** Colours of the style sheet, as red, green and blue. */
  function colorOf(name) {
    const hex = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    return [1, 3, 5].map((start) => parseInt(hex.slice(start, start + 2), 16));
  }
  const css = (color) => `rgb(${color.map(Math.round).join(" ")})`;
  const mix = (low, high, x) => low.map((part, i) => part + (high[i] - part) * Math.min(1, Math.max(0, x)));

  const shades = {
    verdict: (layer, i) => activeShare(layer, i),
    samples: firedShare,
    positions: activeShare,
    dormancy: (layer, i) => (value(layer, "dormancy", i) ?? 0) / 3,
    gradient: gradientShare,  // with gradients
  };

  function painter() {
    const low = colorOf("--low");
    const high = colorOf("--high");
    const own = verdicts.map((verdict) => css(colorOf(`--${verdict.key}`)));
    const ramp = Array.from({ length: 65 }, (_, step) => css(mix(low, high, step / 64)));
    const shade = shades[mode.value];
    const [none, unknown] = [css(colorOf("--silent")), css(colorOf("--page"))];  // with gradients
    return (layer, i) => {
      const verdict = verdictOf(layer, i);
      if (mode.value === "verdict" && verdict < verdicts.length - 1) return own[verdict];
      if (mode.value === "gradient" && !shade(layer, i)) return shade(layer, i) === null ? unknown : none;  // with gradients
      return ramp[Math.round(64 * Math.min(1, shade(layer, i)))];
    };
  }

  function size() {
    const width = grid.clientWidth;
    const total = layers.reduce((sum, layer) => sum + layer.count, 0);
    cell = total < 2500 ? 14 : total < 40000 ? 9 : 6;
    for (const strip of strips) strip.columns = Math.max(1, Math.min(strip.layer.count, Math.floor(width / cell)));
  }

  function draw() {
    size();
    const color = painter();
    const density = Math.min(2, window.devicePixelRatio || 1);
    for (const { layer, canvas, columns } of strips) {
      const lines = Math.ceil(layer.count / columns);
      canvas.width = columns * cell * density;
      canvas.height = lines * cell * density;
      canvas.style.width = `${columns * cell}px`;
      canvas.style.height = `${lines * cell}px`;
      const context = canvas.getContext("2d");
      context.scale(density, density);
      for (let i = 0; i < layer.count; ++i) {
        context.fillStyle = color(layer, i);
        context.fillRect((i % columns) * cell, Math.floor(i / columns) * cell, cell - 1, cell - 1);
      }
    }
    explain();
    place();
  }

  function explain() {
    legend.replaceChildren();
    const scale = element("canvas", { width: 64, height: 1, "aria-hidden": "true" });
    const context = scale.getContext("2d");
    const [low, high] = [colorOf("--low"), colorOf("--high")];
    for (let x = 0; x < 64; ++x) {
      context.fillStyle = css(mix(low, high, x / 63));
      context.fillRect(x, 0, 1, 1);
    }
    if (mode.value === "verdict") {
      for (const verdict of present()) {
        if (verdict < verdicts.length - 1) legend.append(tag(verdict));
      }
      legend.append(element("span", {}, "healthy, firing at 0%", scale, "100% of positions"));
    } else {
      const [from, to] = mode.value === "dormancy" ? ["0", "3 times the mean or more"] : ["0%", "100%"];
      if (mode.value === "gradient") legend.append(...gradientLegend());  // with gradients
      legend.append(element("span", {}, from, scale, to));
    }
  }

  function present() {
    const seen = new Set();
    for (const layer of layers) for (let i = 0; i < layer.count; ++i) seen.add(verdictOf(layer, i));
    return [...seen].sort((a, b) => a - b);
  }

  /** Puts the cursor where `at` is. */
  function place() {
    cursor.hidden = at === null;
    if (at === null) return;
    const strip = strips[at.place];
    strip.holder.append(cursor);
    cursor.style.left = `${(at.i % strip.columns) * cell - 2}px`;
    cursor.style.top = `${Math.floor(at.i / strip.columns) * cell - 2}px`;
    cursor.style.width = cursor.style.height = `${cell + 3}px`;
  }

  function move(placeTo, i, scroll) {
    at = { place: placeTo, i };
    place();
    readout.textContent = sentence(layers[placeTo], i);
    if (scroll) cursor.scrollIntoView({ block: "nearest" });
  }

  /** The nearest layer with channels in a direction, or the one given. */
  function neighbour(from, step) {
    for (let to = from + step; to >= 0 && to < layers.length; to += step) if (layers[to].count) return to;
    return from;
  }

  function key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const first = neighbour(-1, 1);
    if (first < 0 || !layers[first]) return;
    const here = at ?? { place: first, i: 0 };
    const last = layers[here.place].count - 1;
    const across = (to) => [to, Math.min(here.i, layers[to].count - 1)];
    const moves = {
      ArrowRight: () => [here.place, at ? Math.min(last, here.i + 1) : 0],
      ArrowLeft: () => [here.place, Math.max(0, here.i - 1)],
      ArrowDown: () => across(at ? neighbour(here.place, 1) : here.place),
      ArrowUp: () => across(neighbour(here.place, -1)),
      Home: () => [here.place, 0],
      End: () => [here.place, last],
    };
    if (moves[event.key]) {
      event.preventDefault();
      move(...moves[event.key](), true);
    } else if (event.key === "Enter" && at) {
      event.preventDefault();
      table.show(at.place, indexOf(layers[at.place], at.i));
    }
  }

  function start() {
    for (const layer of layers) {
      const canvas = element("canvas", { "aria-hidden": "true" });
      const holder = element("div", { class: "strip" });
      const cells = element("div", { class: "cells" }, canvas);
      const title = element("p", {}, `${layer.place + 1}  `, element("span", { class: "name" }, layer.label),
                            ` ${layer.op}, ${many(layer.count, "channel", "channels")}`);
      holder.append(title, cells);
      grid.append(holder);
      const strip = { layer, canvas, holder: cells, columns: 1 };
      strips.push(strip);
      const under = (event) => {
        const spot = canvas.getBoundingClientRect();
        const column = Math.floor((event.clientX - spot.left) / cell);
        const i = Math.floor((event.clientY - spot.top) / cell) * strip.columns + column;
        return column >= 0 && column < strip.columns && i >= 0 && i < layer.count ? i : null;
      };
      canvas.addEventListener("pointermove", (event) => {
        const i = under(event);
        if (i !== null) move(layer.place, i, false);
      });
      canvas.addEventListener("click", (event) => {
        const i = under(event);
        if (i !== null) move(layer.place, i, false);
      });
    }
    grid.addEventListener("keydown", key);
    mode.addEventListener("change", draw);
    dark.addEventListener("change", draw);
    window.addEventListener("beforeprint", draw);
    window.addEventListener("afterprint", draw);
    new ResizeObserver(oncePerFrame(() => {
      const before = strips.map((strip) => strip.columns).join();
      size();
      if (strips.map((strip) => strip.columns).join() !== before) draw();
    })).observe(grid);
    draw();
  }

  return { start, present };
})();
