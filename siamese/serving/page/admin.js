// The shop's own page: products one by one, or a folder with a table, and the catalog in numbers.

import { $, announce, ask, make, Problem, shrunk } from "./common.js";

const SIDE = 1600; // pixels that the server keeps
const AT_ONCE = 4; // products that are sent at the same time
const KEY = "siamese-admin-token"; // of this tab alone
let stopped = false;

const asShop = (options = {}) => ({ ...options, headers: { ...options.headers, Authorization: `Bearer ${sessionStorage.getItem(KEY)}` } });
const addressOf = (id) => `/v1/products/${encodeURIComponent(id)}`;
let filled = null; // id of the product whose attributes were filled in

function fail(problem) {
  if (problem.status === 401) leave();
  $("error").textContent = problem.status === 401 ? "This is not the token that the server was started with." : problem.message;
  $("error").hidden = false;
  $("error").scrollIntoView({ block: "nearest" });
}

async function attempt(work) {
  $("error").hidden = true;
  try {
    await work();
  } catch (problem) {
    fail(problem);
  }
}

function leave() {
  sessionStorage.removeItem(KEY);
  $("inside").hidden = $("leave").hidden = true;
  $("enter").hidden = false;
  $("token").value = "";
}

async function enter() {
  await statistics();
  $("enter").hidden = true;
  $("inside").hidden = $("leave").hidden = false;
}

// Typed values as what the catalog's columns hold, read by the server as a table of one row.
async function meant(given) {
  const names = Object.keys(given).filter((name) => given[name].trim());
  const values = Object.fromEntries(Object.keys(given).map((name) => [name, null]));
  if (!names.length) return values;
  const reserved = names.find((name) => ["product_id", "id", "path"].includes(name));
  if (reserved) throw new Error(`An attribute cannot be named ${reserved} here.`);
  const line = (cells) => cells.map((cell) => `"${cell.replaceAll('"', '""')}"`).join(",");
  const table = [line(["product_id", ...names]), line(["1", ...names.map((name) => given[name])])].join("\n");
  const { rows } = await readTable(new Blob([table]));
  return { ...values, ...rows[0].attributes };
}

async function readTable(file) {
  const form = new FormData();
  form.append("table", file, "table.csv");
  return ask("/v1/tables", asShop({ method: "POST", body: form }));
}

// The id that was typed, or null after the browser has told that it is missing.
function typedId() {
  $("id").value = $("id").value.trim();
  return $("id").reportValidity() ? $("id").value : null;
}

function attributeRow(name = "", value = "", hint = "value; empty takes it away") {
  const row = make("div", { class: "row attribute", "data-before": `${name}=${value}` },
    make("input", { type: "text", value: name, placeholder: "name", "aria-label": "Attribute", autocomplete: "off" }),
    make("input", { type: "text", value: String(value), placeholder: hint, "aria-label": name ? `Value of ${name}` : "Value", autocomplete: "off" }));
  $("attributes").append(row);
  return row;
}

// What the catalog knows; a predicted value is not taken for the shop's own word.
function fill(product) {
  filled = product.product_id;
  $("attributes").replaceChildren();
  for (const [name, value] of Object.entries(product.attributes)) {
    if (name in product.predicted) attributeRow(name, "", `predicted: ${value}`);
    else attributeRow(name, value);
  }
  attributeRow();
}

// Those of the form that were changed, or all if they were filled in from another product.
function attributes() {
  const given = {}, same = filled === $("id").value.trim();
  for (const row of document.querySelectorAll(".attribute")) {
    const [name, value] = [...row.querySelectorAll("input")].map((input) => input.value);
    const unchanged = row.dataset.before === `${name}=${value}` && (same || !value);
    if (name.trim() && !unchanged) given[name.trim()] = value;
  }
  return given;
}

async function put(id, photos, values) {
  const form = new FormData();
  for (const photo of photos) form.append("photos", await shrunk(photo, SIDE), "photo.jpg");
  form.append("attributes", JSON.stringify(values));
  return ask(addressOf(id), asShop({ method: "PUT", body: form }));
}

function said(text) {
  $("status").textContent = "";
  announce(text);
  const line = make("p", { class: "notice", text });
  document.querySelector("#one .notice")?.remove();
  $("one").append(line);
}

async function saveOne(event) {
  event.preventDefault();
  const id = typedId();
  if (!id) return;
  await attempt(async () => {
    const answer = await put(id, $("photos").files, await meant(attributes()));
    said(`${answer.created ? "Added" : "Changed"} ${answer.product.product_id}. It is found by searches now.`);
    $("photos").value = "";
    fill(answer.product);
    await statistics();
  });
}

async function lookUp() {
  const id = typedId();
  if (!id) return;
  await attempt(async () => {
    fill((await ask(addressOf(id))).product);
  });
}

async function removeOne() {
  const id = typedId();
  if (!id || !confirm(`Remove ${id} from the catalog?`)) return;
  await attempt(async () => {
    await ask(addressOf(id), asShop({ method: "DELETE" }));
    filled = null;
    said(`Removed ${id}.`);
    await statistics();
  });
}

// The products of a folder and a table: each with its photos, if any, and its row's attributes.
function products(files, rows) {
  const byId = new Map(rows.map((row) => [row.product_id, row]));
  const byPath = new Map(rows.filter((row) => row.path).map((row) => [row.path, row.product_id]));
  const found = new Map();
  for (const file of files) {
    const inside = (file.webkitRelativePath || file.name).split("/").slice(file.webkitRelativePath ? 1 : 0).join("/");
    const id = byPath.get(inside) ?? byPath.get(file.name) ?? file.name.replace(/\.[^.]*$/, "");
    if (!found.has(id)) found.set(id, { id, photos: [], attributes: byId.get(id)?.attributes ?? {} });
    found.get(id).photos.push(file);
  }
  for (const [id, row] of byId) if (!found.has(id)) found.set(id, { id, photos: [], attributes: row.attributes });
  return [...found.values()];
}

async function saveMany(event) {
  event.preventDefault();
  stopped = false;
  await attempt(async () => {
    let rows = [];
    if ($("table").files.length) ({ rows } = await readTable($("table").files[0]));
    const files = [...$("folder").files].filter((file) => file.type.startsWith("image/"));
    const all = products(files, rows);
    if (!all.length) throw new Error("Choose a folder with photos, a table, or both.");
    await writeAll(all);
    await statistics();
  });
}

async function writeAll(all) {
  let done = 0, failed = 0;
  const left = [...all];
  $("faults").replaceChildren();
  $("work").hidden = $("stop").hidden = false;
  $("add-all").disabled = true;
  $("progress").max = all.length;
  const tell = () => {
    $("progress").value = done + failed;
    $("written").textContent = `${done} of ${all.length} products written${failed ? `, ${failed} not` : ""}`;
  };
  const worker = async () => {
    for (let one = left.shift(); one && !stopped; one = left.shift()) {
      try {
        await put(one.id, one.photos, one.attributes);
        done += 1;
      } catch (problem) {
        failed += 1;
        if (problem.status === 401) { stopped = true; fail(problem); }
        if (failed <= 50) $("faults").append(make("li", { text: `${one.id}: ${problem.message}` }));
      }
      tell();
    }
  };
  tell();
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  $("stop").hidden = true;
  $("add-all").disabled = false;
  if (stopped) $("written").textContent += ", then stopped";
  announce($("written").textContent);
}

async function statistics() {
  const found = await ask("/v1/statistics", asShop());
  $("totals").textContent = `${found.products.toLocaleString("en")} products with ${found.photos.toLocaleString("en")} photos.`;
  drawOverview(found.columns);
  const lacking = Object.entries(found.missing).filter(([, count]) => count > 0);
  $("missing").replaceChildren();
  if (lacking.length) {
    $("missing").append(make("caption", { class: "hint", text: "Products without a value" }),
      make("tr", {}, make("th", { scope: "col", text: "attribute" }), make("th", { scope: "col", text: "lacking" })),
      ...lacking.map(([name, count]) => make("tr", {}, make("td", { text: name }), make("td", { text: String(count) }))));
  }
  $("columns").replaceChildren(...found.facets.filter((facet) => facet.values.length).map(bars));
}

// What each column of labels holds, and how evenly.
function drawOverview(columns) {
  const heading = ["attribute", "values", "most common", "its share", "largest / smallest", "rare (under 10)"];
  const rows = columns.map((each) => [each.name, each.labels, each.most_common, `${Math.round(100 * each.its_share)} %`, each.imbalance.toFixed(1), each.rare]);
  $("overview").replaceChildren();
  if (!rows.length) return;
  $("overview").append(make("tr", {}, ...heading.map((text) => make("th", { scope: "col", text }))),
    ...rows.map((row) => make("tr", {}, ...row.map((value) => make("td", { text: String(value) })))));
}

// How often each value of a column occurs.
function bars(facet) {
  const most = facet.values[0].count;
  const lines = facet.values.slice(0, 12).map(({ value, count }) =>
    make("div", {}, make("span", { text: String(value) }), make("meter", { min: 0, max: most || 1, value: count, "aria-hidden": "true" }), make("span", { text: String(count) })));
  const rest = facet.values.length - lines.length;
  return make("section", { class: "bars" }, make("h3", { text: facet.name }), ...lines, rest > 0 ? make("p", { class: "hint", text: `and ${rest} more` }) : null);
}

$("enter").addEventListener("submit", (event) => {
  event.preventDefault();
  const token = $("token").value.trim();
  sessionStorage.setItem(KEY, token);
  attempt(async () => {
    if (!/^[!-~]+$/.test(token)) throw new Problem(401, ""); // a header could not carry it
    await enter();
  });
});
$("leave").addEventListener("click", leave);
$("one").addEventListener("submit", saveOne);
$("another").addEventListener("click", () => attributeRow().querySelector("input").focus());
$("look-up").addEventListener("click", lookUp);
$("remove").addEventListener("click", removeOne);
$("many").addEventListener("submit", saveMany);
$("stop").addEventListener("click", () => { stopped = true; });
attributeRow();
ask("/v1/about").then((about) => { $("title").textContent = about.title; document.title = `Catalog of ${about.title}`; }).catch(() => {});
if (sessionStorage.getItem(KEY)) attempt(enter);
