// The picture of the network: lines from layer to layer, left of their list.
//
// A layer next to one that it feeds is joined to it by a straight line. All other edges of a layer share one
// track to the left, which runs down to the last layer it feeds; tracks that do not overlap share a lane.

const network = (() => {
  const svg = document.querySelector(".lanes");
  const box = document.querySelector(".network");
  const list = box.querySelector(".layers");
  const rows = [...list.children];  // the input, the layers, the output
  const kMostLanes = 24;  // further ones share the last

  const targets = rows.map(() => []);
  layers.forEach((layer, place) => {
    if (layer.input) targets[0].push(place + 1);
    for (const from of layer.predecessors) if (from < place) targets[from + 1].push(place + 1);
    if (layer.output) targets[place + 1].push(rows.length - 1);
  });

  const tracks = [];  // {from, far: [rows], lane}
  targets.forEach((to, from) => {
    const far = to.filter((row) => row > from + 1);
    if (far.length) tracks.push({ from, far, end: Math.max(...far) });
  });
  const lanes = [];
  for (const track of [...tracks].sort((a, b) => (a.end - a.from) - (b.end - b.from) || a.from - b.from)) {
    let lane = lanes.findIndex((taken) => taken.every((t) => t.end <= track.from || t.from >= track.end));
    if (lane < 0 && lanes.length < kMostLanes) lane = lanes.push([]) - 1;
    if (lane < 0) lane = kMostLanes - 1;
    lanes[lane].push(track);
    track.lane = lane;
  }

  /** The worst verdict of a layer that calls for something to be done, or nothing. */
  const worst = (layer) => {
    let found = verdicts.length;
    for (let i = 0; i < layer.count; ++i) found = Math.min(found, verdictOf(layer, i));
    return ["always_on", "healthy", undefined].includes(verdicts[found]?.key) ? "" : verdicts[found].key;
  };

  function draw() {
    const stacked = window.matchMedia("(max-width: 60rem)").matches;  // rows of several lines, see the style
    const narrow = box.clientWidth < 640;
    const gap = Math.min(narrow ? 7 : 12, (narrow ? 56 : 120) / Math.max(1, lanes.length));
    const spine = 8 + lanes.length * gap;
    box.style.setProperty("--gutter", `${spine + 14}px`);
    const top = box.getBoundingClientRect().top;
    const middles = rows.map((row) => {
      const place = row.getBoundingClientRect();
      return place.top - top + (stacked ? Math.min(place.height / 2, 18) : place.height / 2);
    });
    svg.setAttribute("width", spine + 14);
    svg.setAttribute("height", box.clientHeight);
    svg.replaceChildren();
    for (const track of tracks) {
      const x = spine - (track.lane + 1) * gap;
      const bend = Math.min(gap + track.lane * gap * 0.5, 10);
      const from = middles[track.from];
      for (const row of track.far) {
        const to = middles[row];
        const path = `M${spine} ${from}C${x} ${from} ${x} ${from} ${x} ${from + bend}V${to - bend}` +
          `C${x} ${to} ${x} ${to} ${spine} ${to}`;
        svg.append(drawing("path", { d: path, "data-from": track.from, "data-to": row }));
      }
    }
    targets.forEach((to, from) => {
      if (!to.includes(from + 1)) return;
      svg.append(drawing("path", { d: `M${spine} ${middles[from]}V${middles[from + 1]}`, "data-from": from, "data-to": from + 1 }));
    });
    rows.forEach((row, i) => {
      const layer = layers[i - 1];
      const verdict = layer ? worst(layer) : "";
      svg.append(drawing("circle", { cx: spine, cy: middles[i], r: 4.5, class: verdict ? `found ${verdict}` : "" }));
    });
  }

  /** Marks the edges of one row, or none. */
  function light(row) {
    for (const path of svg.querySelectorAll("path")) {
      path.classList.toggle("lit", row !== null && (path.dataset.from === String(row) || path.dataset.to === String(row)));
    }
  }
  rows.forEach((row, i) => {
    row.addEventListener("pointerenter", () => light(i));
    row.addEventListener("pointerleave", () => light(null));
    row.addEventListener("focusin", () => light(i));
    row.addEventListener("focusout", () => light(null));
  });

  new ResizeObserver(oncePerFrame(draw)).observe(list);
  window.addEventListener("beforeprint", draw);
  return { draw };
})();
