// Charts of the model by version, drawn with uPlot.

const COLOURS = 6;
// Ticks of the axis of odds, by how far it reaches.
const FINE = [.4, .5, .6, .7, .8, .9, 1, 1.1, 1.2, 1.3, 1.4, 1.6, 1.8, 2, 2.5];
const COARSE = [.05, .1, .2, .33, .5, .75, 1, 1.5, 2, 3, 5, 10, 20];
const DECADES = [-4, -3, -2, -1, 0, 1, 2, 3, 4, 5].map((power) => 10 ** power);
const LEAST_GAP = 13; // pixels between two numbers

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
  const axis = { stroke: css("--quiet"), grid: { stroke: css("--line"), width: 1 }, ticks: { show: false } };
  const isOdds = place.dataset.chart === "odds";
  const colours = curves.map((_, i) => css(`--curve-${(i % COLOURS) + 1}`));
  new uPlot({
    width: place.clientWidth, height: 240, padding: [8, 24, 0, 0],
    scales: { x: { time: false }, y: isOdds ? { distr: 3, range: (_, low, high) => [low / 1.15, high * 1.15] } : {} },
    axes: [axis, isOdds ? { ...axis, splits: (_, __, low, high) => oddsTicks(low, high), filter: (_, splits) => splits, values: (_, splits) => splits.map((odds) => `×${odds}`) } : axis],
    series: [{ label: "version" }, ...curves.map(({ name }, i) => ({ label: `${i + 1} ${name}`, stroke: colours[i], width: 2, points: { show: false }, spanGaps: true, value: (_, value) => (value === null ? "–" : isOdds ? `×${value.toFixed(2)}` : value.toFixed(3)) }))],
    legend: { markers: { width: 0, fill: (_, i) => colours[i - 1] } },
    hooks: { draw: [(plot) => numberLines(plot, colours)] },
  }, [series.versions, ...curves.map((curve) => curve.values)], place);
}

function oddsTicks(low, high) {
  const all = high / low < 2.5 ? FINE : high / low < 100 ? COARSE : DECADES;
  return all.filter((odds) => odds >= low && odds <= high);
}

// Each line's number at its right end, as in the legend; numbers that would overlap are moved apart.
function numberLines(plot, colours) {
  const ends = colours.flatMap((colour, i) => {
    const value = plot.data[i + 1].findLast((each) => each !== null && each !== undefined);
    return value === undefined ? [] : [{ colour, text: String(i + 1), y: plot.valToPos(value, "y", true) }];
  }).sort((a, b) => a.y - b.y);
  const { ctx, bbox } = plot;
  const gap = LEAST_GAP * devicePixelRatio;
  ends.forEach((end, i) => { if (i) end.y = Math.max(end.y, ends[i - 1].y + gap); });
  ends.forEach((_, i) => {
    const end = ends[ends.length - 1 - i];
    const below = i ? ends[ends.length - i].y - gap : bbox.top + bbox.height;
    end.y = Math.min(end.y, below);
  });
  ctx.save();
  ctx.font = `600 ${12 * devicePixelRatio}px system-ui, sans-serif`;
  ctx.textAlign = "left";
  ctx.textBaseline = "middle";
  for (const { colour, text, y } of ends) {
    ctx.fillStyle = colour;
    ctx.fillText(text, bbox.left + bbox.width + 6 * devicePixelRatio, y);
  }
  ctx.restore();
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
