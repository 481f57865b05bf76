"use strict";
// Finds, chooses and sorts the rows of a report. Without this script they stand in their order.
const form = document.getElementById("choose");
const rows = [...document.querySelectorAll("#rows > .row")];
const field = (id) => document.getElementById(id);
const number = (row, name) => (["", "None"].includes(row.dataset[name]) ? -Infinity : Number(row.dataset[name]));

function renew() {
  const words = field("find").value.toLowerCase().split(/\s+/).filter(Boolean);
  const group = field("group") ? field("group").value : "";
  const by = field("sort").value;
  for (const row of rows) {
    const text = row.querySelector(".what").textContent.toLowerCase();
    row.hidden = !words.every((word) => text.includes(word)) || (group !== "" && row.dataset.group !== group);
  }
  const sign = by === "order" ? -1 : 1;
  rows.sort((a, b) => sign * (number(b, by) - number(a, by)) || number(a, "order") - number(b, "order"));
  field("rows").append(...rows);
  const shown = rows.filter((row) => !row.hidden).length;
  field("shown").textContent = `${shown} of ${rows.length} runs`;
}

form.hidden = false;
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("input", renew);
renew();
