// Shows what the script draws, and draws it.

for (const part of document.querySelectorAll(".scripted")) part.hidden = false;
if (layers.some((layer) => layer.count)) {
  map.start();
  histograms.start();
} else {
  byId("map").hidden = byId("distribution").hidden = true;
}
table.start();
network.draw();
