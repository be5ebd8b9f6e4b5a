// The report's data, and what the parts of the page share.

const data = JSON.parse(document.getElementById("data").textContent);
const layers = data.layers;
const verdicts = data.verdicts;
const byId = (id) => document.getElementById(id);

for (const layer of layers) {
  layer.count = layer.verdicts.length;
  layer.label = layer.node || layer.value;
  layer.causes = new Map((layer.causes ?? []).map(([i, kind, text, remedy]) => [i, { kind: kind.replaceAll("_", " "), text, remedy }]));
}
layers.forEach((layer, place) => { layer.place = place; });

/** What a layer's column says of a channel; a column may be one value for all. */
const value = (layer, column, i) => Array.isArray(layer[column]) ? layer[column][i] : layer[column];
const verdictOf = (layer, i) => layer.verdicts.charCodeAt(i) - 48;
const indexOf = (layer, i) => layer.index.length ? layer.index[i] : i;
const share = (part, whole) => whole > 0 ? part / whole : 0;
const firedShare = (layer, i) => share(value(layer, "fired", i), value(layer, "samples", i));
const activeShare = (layer, i) => share(value(layer, "active", i), value(layer, "positions", i));
const wordsOf = (verdict) => verdicts[verdict].key.replace("_", " ");

const wholeFormat = new Intl.NumberFormat("en");
const whole = (n) => wholeFormat.format(n);
const many = (n, one, more) => `${whole(n)} ${n === 1 ? one : more}`;

/** A share in per cent; what is not quite nothing or all is never shown as 0% or 100%. */
function percent(x) {
  if (x === 0 || x === 1) return `${100 * x}%`;
  if (x < 0.0005) return "<0.1%";
  if (x > 0.9995) return ">99.9%";
  return `${(100 * x).toFixed(1)}%`;
}

function number(x) {
  if (x === null || x === undefined) return "none";
  const size = Math.abs(x);
  if (size !== 0 && (size >= 1e5 || size < 1e-3)) return x.toExponential(2).replace("-", "\u2212");
  return String(Number(x.toPrecision(4))).replace("-", "\u2212");
}

/** Makes an element; text is text, never markup. */
function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, text] of Object.entries(attributes)) made.setAttribute(key, text);
  made.append(...children);
  return made;
}

function drawing(name, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, text] of Object.entries(attributes)) made.setAttribute(key, text);
  made.append(...children);
  return made;
}

const tag = (verdict) =>
  element("span", { class: `tag ${verdicts[verdict].key}` }, element("span", { class: "swatch", "aria-hidden": "true" }),
          wordsOf(verdict));

/** Calls back at most once a frame, however often it is asked to. */
function oncePerFrame(action) {
  let waiting = false;
  return () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; action(); });
  };
}

function fillLayerChoice(select) {
  for (const layer of layers) {
    select.append(element("option", { value: layer.place }, `${layer.place + 1}  ${layer.label}`));
  }
}

/** One sentence on a channel, as the map and screen readers say it. */
function sentence(layer, i) {
  const verdict = verdictOf(layer, i);
  let text = `${layer.label}, channel ${indexOf(layer, i)}: ${wordsOf(verdict)}. Fired in ` +
    `${whole(value(layer, "fired", i))} of ${many(value(layer, "samples", i), "sample", "samples")}`;
  if (value(layer, "positions", i) > value(layer, "samples", i)) {
    text += `, at ${percent(activeShare(layer, i))} of positions`;
  }
  if (gradientShare(layer, i) === 0) text += "; no sample brings it a gradient";  // with gradients
  const cause = layer.causes.get(i);
  return `${text}.${cause ? ` Cause: ${cause.kind}.` : ""}`;
}
