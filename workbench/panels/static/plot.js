// One plotly figure, drawn by the plotly.js that the page has loaded from its own server.
const DARK = {
  paper_bgcolor: "#131722", plot_bgcolor: "#131722",
  font: { color: "#d5dae3", size: 12, family: "Inter, 'Segoe UI', Helvetica, Arial, sans-serif" },
};
const AXIS = { gridcolor: "#232a38", linecolor: "#39435a", zerolinecolor: "#39435a", tickcolor: "#39435a" };

function restyle(layout) {
  const dark = { ...layout, ...DARK, autosize: true };
  delete dark.template;
  delete dark.width;
  for (const key of Object.keys(layout))
    if (/^[xy]axis/.test(key)) dark[key] = { ...layout[key], ...AXIS };
  for (const key of ["xaxis", "yaxis"]) dark[key] = { ...dark[key], ...AXIS };
  dark.hovermode = layout.hovermode ?? "x unified";
  dark.hoverlabel = { bgcolor: "#1a2030", bordercolor: "#39435a", font: { color: "#d5dae3" } };
  dark.legend = { orientation: "h", x: 0, xanchor: "left", y: -0.1, yanchor: "top" };
  dark.title = { font: { size: 14 }, x: 0, xref: "paper", ...layout.title };
  dark.margin = { l: 60, r: 16, t: 44, b: 40, ...layout.margin };
  dark.height = Math.min(layout.height ?? 400, 430);
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
  const draw = async () => {
    const figure = model.get("figure");
    const Plotly = await plotly();
    if (!figure.data) {
      Plotly.purge(place);
      return;
    }
    const colours = JSON.parse(JSON.stringify(figure.data));
    await Plotly.react(place, colours, restyle(figure.layout ?? {}), {
      responsive: true, displaylogo: false, displayModeBar: "hover",
    });
    place.dataset.drawn = String(figure.data.length);
  };
  model.on("change:figure", draw);
  draw();
  return () => window.Plotly?.purge(place);
}

export default { render };
