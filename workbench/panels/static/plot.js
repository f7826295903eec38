// One plotly figure, drawn by the plotly.js that the page has loaded from its own server.
const DARK = {
  paper_bgcolor: "#131722", plot_bgcolor: "#131722",
  font: { color: "#d5dae3", size: 12, family: "Inter, 'Segoe UI', Helvetica, Arial, sans-serif" },
};
const AXIS = { gridcolor: "#232a38", linecolor: "#39435a", zerolinecolor: "#39435a", tickcolor: "#39435a" };

function wrap(text, most) {
  const lines = [""];
  for (const word of text.split(" ")) {
    if (lines.at(-1).length + word.length > most) lines.push("");
    lines[lines.length - 1] += (lines.at(-1) ? " " : "") + word;
  }
  return lines;
}

function restyle(layout, width) {
  const dark = { ...layout, ...DARK, autosize: true };
  delete dark.template;
  delete dark.width;
  for (const key of Object.keys(layout))
    if (/^[xy]axis/.test(key)) dark[key] = { ...layout[key], ...AXIS };
  for (const key of ["xaxis", "yaxis"]) dark[key] = { ...dark[key], ...AXIS };
  dark.yaxis.automargin = true;
  dark.hovermode = layout.hovermode ?? "x unified";
  dark.hoverlabel = { bgcolor: "#1a2030", bordercolor: "#39435a", font: { color: "#d5dae3" } };
  dark.legend = { orientation: "h", x: 1, xanchor: "right", y: 1, yanchor: "bottom" };
  const note = layout.title?.subtitle?.text;
  const title = wrap(layout.title?.text ?? "", width / 8), below = note ? wrap(note, width / 6) : [];
  dark.title = {
    font: { size: 14 }, x: 0, xref: "container", y: 1, yref: "container", yanchor: "top",
    pad: { t: 12, l: 12 },
    text: title.join("<br>"),
    subtitle: { text: below.join("<br>"), font: { size: 12, color: "#808998" } },
  };
  const top = 46 + 18 * title.length + 16 * below.length;
  dark.margin = { l: 60, r: 16, b: 44, ...layout.margin, t: top };
  dark.height = Math.min(layout.height ?? 400, 400) + top - 64;
  return dark;
}

async function plotly() {
  for (let wait = 0; !window.Plotly && wait < 200; wait++)
    await new Promise((next) => setTimeout(next, 50));
  if (!window.Plotly) throw new Error("plotly.js has not loaded");
  return window.Plotly;
}

function render({ model, el }) {
  const place = document.createElement("div");
  place.className = "wb-plot";
  el.append(place);
  let width = 0;
  const draw = async () => {
    const figure = model.get("figure");
    const Plotly = await plotly();
    if (!figure.data) {
      Plotly.purge(place);
      delete place.dataset.drawn;
      return;
    }
    // Before the page is laid out there is no room to draw in; the observer calls again.
    width = place.clientWidth;
    if (!width) return;
    const colours = JSON.parse(JSON.stringify(figure.data));
    await Plotly.react(place, colours, restyle(figure.layout ?? {}, width), {
      responsive: true, displaylogo: false, displayModeBar: "hover",
    });
    place.dataset.drawn = String(figure.data.length);
  };
  const watch = new ResizeObserver(() => place.clientWidth !== width && draw());
  watch.observe(place);
  model.on("change:figure", draw);
  draw();
  return () => {
    watch.disconnect();
    window.Plotly?.purge(place);
  };
}

export default { render };
