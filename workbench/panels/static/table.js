// A table that sorts by its headers and filters as one types; numbers stand to the right.
const isNumber = (value) => typeof value === "number";
const compare = (a, b) =>
  a === b ? 0 : a === null || a === "" ? 1 : b === null || b === "" ? -1 : a < b ? -1 : 1;

function show(value, format) {
  if (value === null || value === undefined) return "";
  if (!isNumber(value)) return String(value);
  if (format === "percent") return (100 * value).toFixed(1) + " %";
  if (format === "count") return Math.round(value).toLocaleString("en");
  return value.toFixed(2);
}

function render({ model, el }) {
  const filter = document.createElement("input");
  filter.className = "wb-filter";
  filter.placeholder = model.get("hint");
  filter.setAttribute("aria-label", model.get("hint"));
  const scroll = document.createElement("div");
  scroll.className = "wb-scroll";
  el.append(filter, scroll);
  let order = { key: null, isDown: true };

  const draw = () => {
    const columns = model.get("columns");
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    let rows = model.get("rows").filter((row) => {
      const text = Object.values(row).join(" ").toLowerCase();
      return words.every((word) => text.includes(word));
    });
    if (order.key)
      rows = [...rows].sort((a, b) => {
        const way = compare(a[order.key], b[order.key]);
        const isMissing = a[order.key] === null || b[order.key] === null;
        return order.isDown && !isMissing ? -way : way;
      });
    const table = document.createElement("table");
    table.className = "wb-table";
    const head = table.createTHead().insertRow();
    for (const column of columns) {
      const cell = document.createElement("th");
      cell.className = "wb-sort" + (column.format ? " wb-number" : "");
      cell.textContent = column.title;
      if (order.key === column.key) {
        cell.setAttribute("aria-sort", order.isDown ? "descending" : "ascending");
        cell.textContent += order.isDown ? " ↓" : " ↑";
      }
      cell.onclick = () => {
        order = { key: column.key, isDown: order.key === column.key ? !order.isDown : true };
        draw();
      };
      head.append(cell);
    }
    const body = table.createTBody();
    for (const row of rows) {
      const line = body.insertRow();
      line.className = "wb-row";
      line.dataset.key = row.key;
      line.setAttribute("aria-selected", String(row.key === model.get("selected")));
      line.onclick = () => {
        model.set("selected", row.key);
        model.save_changes();
        draw();
      };
      for (const column of columns) {
        const cell = line.insertCell();
        const value = row[column.key];
        cell.textContent = show(value, column.format);
        cell.title = cell.textContent;
        if (column.format) cell.classList.add("wb-number");
        if (column.isSigned && isNumber(value))
          cell.classList.add(value < 0 ? "wb-down" : "wb-up");
        if (column.isStatus) cell.classList.add("wb-" + value);
      }
    }
    if (!rows.length) {
      const none = document.createElement("div");
      none.className = "wb-empty";
      none.textContent = model.get("rows").length ? "Nothing matches." : model.get("empty");
      scroll.replaceChildren(none);
      return;
    }
    scroll.replaceChildren(table);
  };
  filter.oninput = draw;
  model.on("change:rows", draw);
  model.on("change:selected", draw);
  draw();
}

export default { render };
