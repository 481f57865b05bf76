// Charts of the model by version, drawn with uPlot.

const DASHES = [[], [6, 3], [2, 3], [10, 4], [8, 3, 2, 3], [1, 4]];

function css(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function draw(place, series) {
  const curves = series[place.dataset.chart];
  place.replaceChildren();
  if (series.versions.length < 2 || curves.length === 0) {
    const text = document.createElement("p");
    text.className = "quiet";
    text.textContent = "The curve appears with the second version.";
    place.append(text);
    return;
  }
  const accent = css("--accent");
  const quiet = css("--quiet");
  const axis = { stroke: quiet, grid: { stroke: css("--line"), width: 1 }, ticks: { show: false } };
  new uPlot({
    width: place.clientWidth, height: 240, scales: { x: { time: false } }, axes: [axis, axis],
    series: [{ label: "version" }, ...curves.map(({ name }, i) => ({ label: name, stroke: i === 0 ? accent : quiet, width: i === 0 ? 2 : 1.5, dash: DASHES[i % DASHES.length], spanGaps: true }))],
  }, [series.versions, ...curves.map((curve) => curve.values)], place);
}

function drawAll() {
  const series = JSON.parse(document.getElementById("series").textContent);
  for (const place of document.querySelectorAll("[data-chart]")) draw(place, series);
}

let timer = null;
document.addEventListener("renewed", drawAll);
window.addEventListener("resize", () => {
  clearTimeout(timer);
  timer = setTimeout(drawAll, 150);
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
drawAll();
