// The shop's page: what is asked lies in the address, so that back, reload and links work.

import { $, announce, ask, make, picture, readable, redraw, shrunk } from "./common.js";
import { drawChosen, drawFacets } from "./facets.js";
import { listen, offer, setBox, show } from "./photo.js";
import { card, closeDialog, detail, explain, nameOf, skeletons, suggest } from "./results.js";
import { addressOf, EMPTY, hasTaste, stateOf, tasteOf } from "./state.js";

const photos = new Map(); // by history entry: what a link cannot carry { blob, box, garments }
let state = { ...EMPTY };
let photo = null; // of the query that is shown, if it is known
let pending = null; // a photo that has no answer yet, with what is asked: { blob, box, garments, garment, asked }
let drawn = null; // the photo in the frame
let next = null; // cursor of the catalog's next page
let running = null; // what is being loaded; a newer question ends it
let heading = "Products"; // of what was loaded last
let about = { title: "Siamese", captions: [], products: 0, finds_garments: false };

function remember(asked, seen) {
  state = asked;
  photo = seen;
  const key = crypto.getRandomValues(new Uint32Array(2)).join("-");
  if (seen) photos.set(key, seen);
  history.pushState({ key }, "", addressOf(asked));
}

// What the customer means, answered or not.
const wanted = () => pending?.asked ?? state;

// Asks the same with other filters, likes or number of products.
function change(fields) {
  if (pending) {
    searchPhoto(pending.blob, pending.box, pending.garment, { ...pending.asked, ...fields });
    return;
  }
  remember({ ...state, ...fields }, photo);
  refresh();
}

// Loads with the newest question only; shows what goes wrong, with a way to try again if that helps.
async function load(work, again, words = "Searching…") {
  running?.abort();
  const mine = running = new AbortController();
  $("error").hidden = true;
  $("results-heading").textContent = words;
  announce(words);
  $("grid").setAttribute("aria-busy", "true");
  if (!$("grid").children.length) $("grid").replaceChildren(...skeletons(8));
  try {
    await work(mine.signal);
  } catch (problem) {
    if (mine !== running || problem.name === "AbortError") return;
    $("grid").replaceChildren(...[...$("grid").children].filter((each) => !each.classList.contains("skeleton")));
    const helps = !problem.status || problem.status === 429 || problem.status >= 500;
    if (!helps && pending) giveUp();
    $("error").replaceChildren(make("span", { text: problem.message }), !helps ? "" : make("button", { type: "button", text: "Try again", onclick: again }));
    $("error").hidden = false;
  } finally {
    if (mine === running) {
      $("grid").setAttribute("aria-busy", "false");
      $("results-heading").textContent = heading;
    }
  }
}

// A photo that cannot be used is forgotten: what was shown before stands again.
function giveUp() {
  pending = null;
  $("top").value = String(state.top);
  drawAsked();
  drawFilters();
  if (!$("grid").children.length) refresh();
}

function searchPhoto(blob, box = null, garment = "auto", asked = null) {
  const before = [pending, photo].find((seen) => seen?.blob === blob);
  const tastes = before ? {} : { likes: [], dislikes: [] };
  asked ??= { ...wanted(), ...tastes, query: null, like: null };
  pending = { blob, box, garments: before?.garments ?? [], garment, asked };
  drawAsked();
  drawFilters();
  load(async (signal) => {
    const answer = await askByPhoto(blob, box, garment, asked, signal);
    const looked = answer.photo;
    const garments = looked.garments.length ? looked.garments : pending.garments;
    remember({ ...asked, query: answer.query }, { blob, box: looked.box, garments });
    pending = null;
    drawAsked();
    showAnswer(answer);
  }, () => searchPhoto(blob, box, garment, asked));
}

function askByPhoto(blob, box, garment, asked, signal) {
  const form = new FormData();
  form.append("photo", blob, "photo.jpg");
  form.append("top", String(asked.top));
  form.append("filters", JSON.stringify(asked.filters));
  if (hasTaste(asked)) form.append("taste", tasteOf(asked));
  form.append("garment", box ? "none" : garment);
  if (box) form.append("box", box.join(","));
  return ask("/v1/search", { method: "POST", body: form, signal });
}

// The photo that is or was searched for, or what stands in its place.
function drawAsked() {
  const seen = pending ?? photo, answered = Boolean(state.query || state.like);
  $("drop").hidden = answered || Boolean(seen);
  $("asked").hidden = !seen;
  $("asked-actions").hidden = !$("drop").hidden;
  $("share").hidden = !answered || Boolean(pending);
  $("from-link").hidden = !(state.query && !seen);
  $("from-product").hidden = !state.like || Boolean(seen);
  if (!seen) return;
  if (drawn !== seen.blob) show(seen.blob, (box) => searchPhoto(seen.blob, box, "none"));
  drawn = seen.blob;
  setBox(seen.box);
  offer(seen.garments, seen.box, (part) => searchPhoto(seen.blob, part, "none"));
}

// Shows what the state says, from the server.
function refresh() {
  if (!state.query) photo = null;
  drawAsked();
  drawFilters();
  if (!state.query && !state.like) { browse(); return; }
  load(async (signal) => {
    const parts = new URLSearchParams({ top: String(state.top), filters: JSON.stringify(state.filters) });
    // Where the best products are compared with the photo, its embedding alone says less.
    if (state.query && photo && about.compares && !hasTaste(state)) {
      showAnswer(await askByPhoto(photo.blob, photo.box, "none", state, signal));
      return;
    }
    if (state.query) {
      parts.set("query", state.query);
      if (hasTaste(state)) parts.set("taste", tasteOf(state));
      showAnswer(await ask(`/v1/search?${parts}`, { signal }));
      return;
    }
    const name = encodeURIComponent(state.like);
    const { product } = await ask(`/v1/products/${name}`, { signal });
    const title = nameOf(product, about.captions);
    $("from-product").replaceChildren(picture(product.thumbnail, ""), make("p", { text: `Products like “${title}”` }));
    showAnswer(await ask(`/v1/similar/${name}?${parts}`, { signal }));
  }, refresh);
}

function browse(cursor = null) {
  load(async (signal) => {
    const parts = new URLSearchParams({ limit: String(state.top), filters: JSON.stringify(state.filters) });
    if (cursor) parts.set("cursor", cursor);
    const page = await ask(`/v1/products?${parts}`, { signal });
    const cards = page.products.map((product) => card(product, { captions: about.captions, open }));
    heading = Object.keys(state.filters).length ? `${page.total.toLocaleString("en")} products` : "All products";
    $("notice").hidden = $("vote").hidden = true;
    if (cursor) $("grid").append(...cards); else $("grid").replaceChildren(...cards);
    next = page.next;
    $("more").hidden = !next;
    if (!page.total) nothing();
    if (cursor) cards[0]?.querySelector("button").focus();
    announce(`${$("grid").children.length} of ${page.total} products shown`);
  }, () => browse(cursor), "Loading…");
}

function showAnswer(answer) {
  const fromPhoto = Boolean(state.query);
  const context = { captions: about.captions, open, scored: fromPhoto };
  if (fromPhoto) Object.assign(context, { like: (product) => judge(product, "likes", "more"), unlike: (product) => judge(product, "dislikes", "less") });
  redraw($("grid"), answer.matches.map((match) => card(match, context)), $("results"));
  const { vote } = answer;
  $("vote").hidden = !(fromPhoto && vote?.label);
  if (vote?.label) $("vote").textContent = `Predicted ${readable(vote.column)}: ${vote.label} (${Math.round(100 * vote.share)} % of the vote). Others are marked “not predicted”.`;
  heading = answer.matches.length ? `${answer.matches.length} of ${answer.considered.toLocaleString("en")} products, best first` : "No products";
  const missing = fromPhoto && answer.matches.length > 0 && answer.in_catalog === false;
  $("notice").hidden = !missing;
  $("notice").textContent = "This product is probably not in this catalog. These are the most alike.";
  $("more").hidden = true;
  next = null;
  if (!answer.matches.length) nothing();
  const best = answer.matches[0];
  announce(best ? `${answer.matches.length} products found. ${missing ? "Probably not in this catalog. " : ""}Best: ${nameOf(best, about.captions)}${best.likelihood ? `, ${best.likelihood}` : ""}` : "No products found");
}

function nothing() {
  const text = about.products ? "No product fits these filters." : "This shop has no products yet.";
  $("grid").replaceChildren(make("li", { class: "empty", text }));
}

async function drawFilters() {
  drawChosen(wanted().filters, filter, tasteChips());
  try {
    const asked = JSON.stringify(wanted().filters);
    const { facets, total } = await ask(`/v1/facets?filters=${encodeURIComponent(asked)}`);
    if (asked !== JSON.stringify(wanted().filters)) return; // others were chosen meanwhile
    drawFacets(facets, () => wanted().filters, filter);
    $("filters").hidden = !facets.length;
    $("show-found").textContent = `Show ${total.toLocaleString("en")} products`;
  } catch { /* the products' own request tells what is wrong */ }
}

function filter(filters) {
  change({ filters });
}

// A customer's word on a product: it moves the query, and the shop is told.
function judge(product, list, verdict) {
  const other = list === "likes" ? "dislikes" : "likes";
  const without = wanted()[other].filter((id) => id !== product.product_id);
  const own = [...wanted()[list].filter((id) => id !== product.product_id), product.product_id].slice(-20);
  tellShop(product, verdict).catch(() => {});
  change({ [list]: own, [other]: without });
}

function tasteChips() {
  const chip = (list, words) => wanted()[list].map((id) => [words, id, () => {
    change({ [list]: wanted()[list].filter((each) => each !== id) });
  }]);
  return [...chip("likes", "More like"), ...chip("dislikes", "Not")];
}

function open(product) {
  detail(product, { captions: about.captions, actions, scored: Boolean(state.query) });
}

// What can be asked about a product.
function actions(product) {
  const offered = [["More like this", () => { closeDialog(); anew({ ...state, query: null, like: product.product_id }); scrollToResults(); }]];
  const id = encodeURIComponent(product.product_id), context = { captions: about.captions, open }, back = () => open(product);
  if (about.has_variants) offered.push(["Other colours", () => suggest("Other colours", `/v1/variants/${id}`, context, back)]);
  if (about.has_complements) offered.push(["Goes with it", () => suggest("Goes with it", `/v1/complements/${id}`, context, back)]);
  if (state.query && photo) offered.push(["Why this product?", (name) => explain(product, name, photo.blob, photo.box, back)]);
  if (state.query) {
    offered.push(["This is it", () => say(product, "right")], ["This is not it", () => say(product, "wrong")]);
  }
  return offered;
}

function tellShop(product, verdict) {
  const body = JSON.stringify({ product_id: product.product_id, verdict, query: state.query });
  return ask("/v1/feedback", { method: "POST", body, headers: { "Content-Type": "application/json" } });
}

async function say(product, verdict) {
  closeDialog();
  try {
    await tellShop(product, verdict);
    tell("Thank you. The shop has been told.");
  } catch (problem) {
    tell(problem.message);
  }
}

// A word in sight, wherever the customer is.
let told;
function tell(text) {
  $("told").textContent = text;
  $("told").hidden = false;
  announce(text);
  clearTimeout(told);
  told = setTimeout(() => { $("told").hidden = true; }, 6000);
}

function scrollToResults() {
  $("results").scrollIntoView({ block: "start", behavior: "instant" });
  $("results").focus({ preventScroll: true });
}

async function share() {
  try {
    await navigator.clipboard.writeText(location.href);
    tell("The link is copied. It holds the search, not your photo.");
  } catch {
    tell("Copy the address of this page; it holds the search, not your photo.");
  }
}

// Asks something that has to do with no photo.
function anew(asked) {
  pending = null;
  remember(asked, null);
  refresh();
}

function startAnew() {
  anew({ ...EMPTY, top: state.top });
  $("choose").focus();
}

function restore() {
  state = stateOf(location.search);
  photo = photos.get(history.state?.key) ?? null;
  pending = null;
  const top = String(state.top);
  if (![...$("top").options].some(({ value }) => value === top)) $("top").append(make("option", { text: top }));
  $("top").value = top;
  closeDialog();
  refresh();
}

async function begin() {
  $("again").addEventListener("click", startAnew);
  $("share").addEventListener("click", share);
  $("more").addEventListener("click", () => browse(next));
  $("show-found").addEventListener("click", () => { $("filters").open = false; scrollToResults(); });
  $("top").addEventListener("change", () => change({ top: Number($("top").value) }));
  addEventListener("popstate", restore);
  listen(async (file) => searchPhoto(await shrunk(file)));
  if (matchMedia("(min-width: 900px)").matches) $("filters").open = true;
  try {
    about = await ask("/v1/about");
  } catch { /* the products' own request tells what is wrong */ }
  $("title").textContent = about.title;
  document.title = about.title;
  const hours = about.uploads_kept_hours;
  if (hours !== undefined) $("kept").textContent = hours ? `The shop keeps it for ${hours} hours.` : "It is only compared, not stored.";
  // A photo that was chosen meanwhile is being searched for: showing all products would end that.
  if (running) drawFilters(); else restore();
}

begin();
