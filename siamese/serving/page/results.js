// Products as cards, and one of them as a dialog with what can be asked about it.

import { $, announce, ask, make, picture, readable, shown, sized } from "./common.js";

const WHY = "Why this product?";

export function nameOf(product, captions) {
  return captions[0] in product.attributes ? said(product, captions[0]) : product.product_id;
}

// A value for people; what a tagger filled in is not stated as a fact.
function said(product, name) {
  const probability = product.predicted[name];
  const doubt = probability === undefined ? "" : probability < 0.5 ? "perhaps " : "probably ";
  return doubt + shown(name, product.attributes[name]);
}

function factsOf(product, captions) {
  return captions.slice(1).filter((name) => name in product.attributes).map((name) => said(product, name)).join(" · ");
}

// Products that were not ranked have none, nor have any where the encoder was not fitted to pairs.
function hasScore(product) {
  return typeof product.probability === "number";
}

function score(match) {
  const percent = match.probability >= 0.995 ? "over 99" : match.probability < 0.01 ? "under 1" : String(Math.round(100 * match.probability));
  return make("div", { class: "score" },
    make("span", { text: `${match.likelihood[0].toUpperCase()}${match.likelihood.slice(1)} (${percent} %)` }),
    make("meter", { min: 0, max: 1, value: match.probability, "aria-hidden": "true" }));
}

// A card; `about.open(product)` shows its dialog, `about.like` and `about.unlike` are optional.
export function card(product, about) {
  const name = nameOf(product, about.captions);
  const facts = factsOf(product, about.captions);
  const alt = facts ? `${name}, ${facts}` : name;
  const ranked = about.scored && hasScore(product);
  const sure = ranked && product.likelihood.startsWith("very");
  return make("li", {},
    make("article", { class: sure ? "card best" : "card", "data-id": product.product_id },
      make("button", { type: "button", class: "picture", "data-key": `open ${product.product_id}`, "aria-haspopup": "dialog", onclick: () => about.open(product) }, picture(product.thumbnail, alt)),
      make("div", { class: "text" },
        make("h3", { text: name }),
        facts ? make("p", { class: "facts", text: facts }) : null,
        ranked ? score(product) : null,
        product.not_predicted ? make("p", { class: "other", text: "not predicted" }) : null),
      about.like ? make("div", { class: "row" },
        make("button", { type: "button", text: "♥ Like", "data-key": `like ${product.product_id}`, title: "More like this", "aria-label": `Like: more like ${name}`, onclick: () => about.like(product) }),
        make("button", { type: "button", text: "✕ Not this", "aria-label": `Not this: ${name}`, onclick: () => about.unlike(product) })) : null));
}

export function skeletons(count) {
  return Array.from({ length: count }, () => make("li", { class: "skeleton", "aria-hidden": "true" }));
}

// Shows content in the dialog; `back()` is where one came from, if anywhere.
export function openDialog(heading, back, ...content) {
  const dialog = $("dialog");
  dialog.replaceChildren(
    make("div", { class: "dialog-bar" },
      back ? make("button", { type: "button", text: "Back", onclick: back }) : null,
      make("h2", { id: "dialog-heading", text: heading }),
      make("button", { type: "button", text: "Close", onclick: () => dialog.close() })),
    ...content);
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
}

$("dialog").addEventListener("click", (event) => { if (event.target === $("dialog")) $("dialog").close(); });

// Everything about one product. `about.actions` are pairs of a name and what it does.
export function detail(product, about) {
  const name = nameOf(product, about.captions);
  const facts = make("dl", {});
  for (const [key, value] of Object.entries(product.attributes)) {
    const probability = product.predicted[key];
    const mark = probability === undefined ? null : make("span", { class: "other", text: `predicted, ${Math.round(100 * probability)} %` });
    facts.append(make("dt", { text: readable(key) }), make("dd", {}, `${shown(key, value)} `, mark));
  }
  facts.append(make("dt", { text: "product" }), make("dd", { text: product.product_id }));
  const actions = make("div", { class: "row" });
  for (const [label, act] of about.actions(product)) {
    actions.append(make("button", { type: "button", text: label, onclick: () => act(name) }));
  }
  openDialog(name, null, make("div", { class: "detail" },
    picture(sized(product.thumbnail, 640), name),
    make("div", {}, about.scored && hasScore(product) ? score(product) : null, actions, facts)));
}

// Products that go with one, as cards in the dialog, each with why it was chosen.
export async function suggest(heading, address, about, back) {
  openDialog(heading, back, make("p", { text: "Looking…" }));
  try {
    const { suggestions } = await ask(address);
    const cards = suggestions.map((product) => {
      const item = card(product, { captions: about.captions, open: about.open });
      item.querySelector(".text").prepend(make("p", { class: "other", text: product.why }));
      return item;
    });
    openDialog(heading, back, cards.length ? make("ol", { class: "grid" }, ...cards) : make("p", { text: "The shop has none." }));
    announce(`${cards.length} products`);
  } catch (problem) {
    openDialog(heading, back, make("p", { class: "error", role: "alert", text: problem.message }));
  }
}

export const closeDialog = () => $("dialog").close();

function asPicture(base64) {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  return URL.createObjectURL(new Blob([bytes], { type: "image/jpeg" }));
}

// Photo and product beside each other, lit where they are alike.
export async function explain(product, name, blob, box, back) {
  openDialog(WHY, back, make("p", { text: "Comparing the two pictures…" }));
  const form = new FormData();
  form.append("photo", blob, "photo.jpg");
  form.append("product_id", product.product_id);
  if (box) form.append("box", box.join(","));
  let found;
  try {
    found = await ask("/v1/explain", { method: "POST", body: form });
  } catch (problem) {
    openDialog(WHY, back, make("p", { class: "error", role: "alert", text: problem.message }));
    return;
  }
  const figure = (base64, caption) => {
    const address = asPicture(base64);
    const image = make("img", { src: address, alt: `${caption}, bright where it decided` });
    image.addEventListener("load", () => URL.revokeObjectURL(address), { once: true });
    return make("figure", {}, image, make("figcaption", { class: "hint", text: caption }));
  };
  const numbers = found.regions ? " The same number marks what is alike in both." : "";
  openDialog(WHY, back,
    make("div", { class: "pair" }, figure(found.photo, "Your photo"), figure(found.product, name)),
    make("p", { class: "hint", text: `The brighter a part, the more it decided.${numbers} Similarity ${found.cosine.toFixed(2)} of 1.` }));
  announce("Explanation shown");
}
