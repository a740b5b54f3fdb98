// The shop's page: what is asked lies in the address, so that back, reload and links work.

import { $, announce, ask, make, picture, readable, shrunk } from "./common.js";
import { drawChosen, drawFacets } from "./facets.js";
import { listen, offer, setBox, show } from "./photo.js";
import { card, closeDialog, detail, explain, nameOf, skeletons, suggest } from "./results.js";
import { addressOf, EMPTY, hasTaste, stateOf, tasteOf } from "./state.js";

const photos = new Map(); // by history entry: what a link cannot carry { blob, box, garments }
let state = { ...EMPTY };
let photo = null; // of the query that is shown, if it is known
let next = null; // cursor of the catalog's next page
let running = null; // what is being loaded; a newer question ends it
let heading = "Products"; // of what was loaded last
let about = { title: "Siamese", captions: [], products: 0, finds_garments: false };

function remember(wanted, seen) {
  state = wanted;
  photo = seen;
  const key = crypto.getRandomValues(new Uint32Array(2)).join("-");
  if (seen) photos.set(key, seen);
  history.pushState({ key }, "", addressOf(wanted));
}

// Loads with the newest question only; shows what goes wrong with a way to try again.
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
    $("error").replaceChildren(make("span", { text: problem.message }), make("button", { type: "button", text: "Try again", onclick: again }));
    $("error").hidden = false;
  } finally {
    if (mine === running) {
      $("grid").setAttribute("aria-busy", "false");
      $("results-heading").textContent = heading;
    }
  }
}

function searchPhoto(blob, box = null, garment = "auto") {
  const kept = photo?.blob === blob ? state : { ...state, likes: [], dislikes: [] };
  const asked = { ...kept, query: null, like: null };
  showPhoto({ blob, box, garments: photo?.blob === blob ? photo.garments : [] });
  load(async (signal) => {
    const form = new FormData();
    form.append("photo", blob, "photo.jpg");
    form.append("top", String(asked.top));
    form.append("filters", JSON.stringify(asked.filters));
    if (hasTaste(asked)) form.append("taste", tasteOf(asked));
    form.append("garment", box ? "none" : garment);
    if (box) form.append("box", box.join(","));
    const answer = await ask("/v1/search", { method: "POST", body: form, signal });
    const looked = answer.photo;
    const garments = looked.garments.length ? looked.garments : photo?.blob === blob ? photo.garments : [];
    remember({ ...asked, query: answer.query }, { blob, box: looked.box, garments });
    showPhoto(photo);
    showAnswer(answer);
    drawFilters();
  }, () => searchPhoto(blob, box, garment));
}

function showPhoto(seen) {
  const asked = Boolean(state.query || state.like || seen);
  $("drop").hidden = asked;
  $("asked").hidden = !seen;
  $("asked-actions").hidden = !asked;
  $("from-link").hidden = !(state.query && !seen);
  $("from-product").hidden = !state.like || Boolean(seen);
  if (!seen) { photo = null; return; }
  if (photo?.blob !== seen.blob || $("photo").dataset.shown !== "yes") {
    show(seen.blob, (box) => searchPhoto(seen.blob, box, "none"));
    $("photo").dataset.shown = "yes";
  }
  photo = seen;
  setBox(seen.box);
  offer(seen.garments, seen.box, (part) => searchPhoto(seen.blob, part, "none"));
}

// Shows what the state says, from the server.
function refresh() {
  showPhoto(state.query ? photo : null);
  drawFilters();
  if (!state.query && !state.like) { browse(); return; }
  load(async (signal) => {
    const parts = new URLSearchParams({ top: String(state.top), filters: JSON.stringify(state.filters) });
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
  $("grid").replaceChildren(...answer.matches.map((match) => card(match, context)));
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
  drawChosen(state.filters, filter, tasteChips());
  try {
    const wanted = JSON.stringify(state.filters);
    const { facets, total } = await ask(`/v1/facets?filters=${encodeURIComponent(wanted)}`);
    if (wanted !== JSON.stringify(state.filters)) return; // others were chosen meanwhile
    drawFacets(facets, () => state.filters, filter);
    $("filters").hidden = !facets.length;
    $("show-found").textContent = `Show ${total.toLocaleString("en")} products`;
  } catch { /* the products' own request tells what is wrong */ }
}

function filter(filters) {
  remember({ ...state, filters }, photo);
  refresh();
}

// A customer's word on a product: it moves the query, and the shop is told.
function judge(product, list, verdict) {
  const other = list === "likes" ? "dislikes" : "likes";
  const without = state[other].filter((id) => id !== product.product_id);
  const own = [...state[list].filter((id) => id !== product.product_id), product.product_id].slice(-20);
  tellShop(product, verdict).catch(() => {});
  remember({ ...state, [list]: own, [other]: without }, photo);
  refresh();
}

function tasteChips() {
  const chip = (list, words) => state[list].map((id) => [words, id, () => {
    remember({ ...state, [list]: state[list].filter((each) => each !== id) }, photo);
    refresh();
  }]);
  return [...chip("likes", "More like"), ...chip("dislikes", "Not")];
}

function open(product) {
  detail(product, { captions: about.captions, actions, scored: Boolean(state.query) });
}

// What can be asked about a product.
function actions(product) {
  const offered = [["More like this", () => { closeDialog(); remember({ ...state, query: null, like: product.product_id }, null); refresh(); scrollToResults(); }]];
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

function tell(text) {
  $("notice").textContent = text;
  $("notice").hidden = false;
  announce(text);
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

function startAnew() {
  photo = null;
  $("photo").dataset.shown = "";
  remember({ ...EMPTY, top: state.top }, null);
  refresh();
  $("choose").focus();
}

function restore() {
  state = stateOf(location.search);
  const seen = photos.get(history.state?.key) ?? null;
  if (seen?.blob !== photo?.blob) $("photo").dataset.shown = "";
  photo = seen;
  $("top").value = String(state.top);
  closeDialog();
  refresh();
}

async function begin() {
  $("again").addEventListener("click", startAnew);
  $("share").addEventListener("click", share);
  $("more").addEventListener("click", () => browse(next));
  $("show-found").addEventListener("click", () => { $("filters").open = false; scrollToResults(); });
  $("top").addEventListener("change", () => { remember({ ...state, top: Number($("top").value) }, photo); refresh(); });
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
