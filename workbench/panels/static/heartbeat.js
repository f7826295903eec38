// Says on the page itself when the kernel behind it is gone: the numbers are then of the past.
const BEAT_MS = 2000, DEAD_MS = 6000, RELOAD_MS = 45000;

function render({ model, el }) {
  let answered = Date.now();
  let cover = null;
  model.on("msg:custom", () => {
    answered = Date.now();
    if (cover) {
      cover.remove();
      cover = null;
      document.body.classList.remove("wb-is-dead");
    }
  });
  const timer = setInterval(() => {
    const silence = Date.now() - answered;
    try {
      model.send({ kind: "ping" });
    } catch {
      // The socket is down: silence says so below.
    }
    if (silence > DEAD_MS && !cover) {
      cover = document.createElement("div");
      cover.className = "wb-dead";
      cover.setAttribute("role", "alert");
      cover.innerHTML =
        "<div><h2>This panel has lost its kernel</h2>What you see is no longer updated. " +
        "Trading, if any, goes on without it: panels only look and command.<br>" +
        "<button>Reload</button></div>";
      cover.querySelector("button").onclick = () => location.reload();
      document.body.append(cover);
      document.body.classList.add("wb-is-dead");
    }
    if (silence > RELOAD_MS) location.reload();
  }, BEAT_MS);
  return () => clearInterval(timer);
}

export default { render };
