// Filters made from the catalog's own columns, with how many products each value has.

import { $, make, picture, readable, redraw, shown, titled } from "./common.js";

const FEW = 7; // values that are shown before one asks for all
const opened = new Set(); // columns whose values are all shown

// Draws the filters; `current()` are those of now, and `change(filters)` is called with new ones.
export function drawFacets(facets, current, change) {
  const focused = document.activeElement;
  // What is being typed stays: its column is not drawn anew.
  const typing = focused?.type === "number" ? focused.closest("#facets > fieldset") : null;
  const sets = facets.map((facet) => {
    if (typing && typing.dataset.column === facet.name) return typing;
    return facet.values.length ? values(facet, current, change) : range(facet, current, change);
  });
  const place = sets.indexOf(typing);
  if (place < 0) {
    redraw($("facets"), sets, $("results"));
  } else {
    for (const set of [...$("facets").children]) if (set !== typing) set.remove();
    typing.before(...sets.slice(0, place));
    typing.after(...sets.slice(place + 1));
  }
  const count = Object.keys(current()).length;
  $("filter-count").hidden = count === 0;
  $("filter-count").textContent = String(count);
}

function values(facet, current, change) {
  const chosen = () => (Array.isArray(current()[facet.name]) ? current()[facet.name] : []);
  const wanted = chosen();
  const all = opened.has(facet.name);
  const list = facet.values.filter((each, place) => all || place < FEW || wanted.includes(each.value));
  const set = make("fieldset", {}, make("legend", { text: titled(facet.name) }));
  for (const { value, count } of list) {
    const toggle = (event) => {
      const rest = chosen().filter((each) => each !== value);
      change(withColumn(current(), facet.name, event.target.checked ? [...rest, value] : rest));
    };
    const box = make("input", { type: "checkbox", checked: wanted.includes(value), onchange: toggle, "data-key": `${facet.name}=${value}` });
    set.append(make("label", { class: "value" }, box, make("span", { text: shown(facet.name, value) }),
      make("span", { class: "count", text: String(count), "aria-label": `${count} products` })));
  }
  if (facet.values.length > FEW) {
    const flip = () => { if (all) opened.delete(facet.name); else opened.add(facet.name); drawAgain(); };
    const drawAgain = () => {
      const again = values(facet, current, change);
      set.replaceWith(again);
      again.querySelector("button").focus();
    };
    set.append(make("button", { type: "button", class: "plain", "data-key": `all ${facet.name}`, text: all ? "Show fewer" : `Show all ${facet.values.length}`, "aria-label": `${all ? "Show fewer" : "Show all"} values of ${readable(facet.name)}`, onclick: flip }));
  }
  return set;
}

function range(facet, current, change) {
  const wanted = current()[facet.name] ?? {};
  const end = (key, bound, label) => {
    const set = (event) => {
      const next = { ...current()[facet.name] };
      if (event.target.value === "") delete next[key]; else next[key] = Number(event.target.value);
      change(withColumn(current(), facet.name, Object.keys(next).length ? next : []));
    };
    return make("input", { type: "number", step: "any", placeholder: String(bound), value: wanted[key] ?? null, "aria-label": `${titled(facet.name)}, ${label}`, onchange: set, "data-key": `${facet.name}.${key}` });
  };
  return make("fieldset", { "data-column": facet.name }, make("legend", { text: titled(facet.name) }),
    make("div", { class: "range" }, end("lowest", facet.lowest, "from"), make("span", { text: "to" }), end("highest", facet.highest, "to")));
}

function withColumn(filters, name, wanted) {
  const next = { ...filters };
  if (Array.isArray(wanted) && !wanted.length) delete next[name]; else next[name] = wanted;
  return next;
}

// A chip for each filter that is on, and for products that were judged (words, id, what takes it
// back); pressing one removes it.
export function drawChosen(filters, change, judged) {
  const chips = judged.map(([words, id, remove]) =>
    make("button", { type: "button", "aria-label": `Remove ${words} ${id}`, title: id, onclick: remove },
      make("span", { text: words }), picture(`/v1/thumbnails/${encodeURIComponent(id)}?side=160`, ""), make("span", { text: "✕" })));
  for (const [name, wanted] of Object.entries(filters)) {
    const ends = Array.isArray(wanted) ? null : `${wanted.lowest ?? "…"} to ${wanted.highest ?? "…"}`;
    for (const value of ends === null ? wanted : [ends]) {
      const rest = ends === null ? wanted.filter((each) => each !== value) : [];
      chips.push(make("button", { type: "button", text: `${titled(name)}: ${shown(name, value)} ✕`, "aria-label": `Remove filter ${readable(name)} ${shown(name, value)}`, onclick: () => change(withColumn(filters, name, rest)) }));
    }
  }
  if (chips.length - judged.length > 1) chips.push(make("button", { type: "button", text: "Clear all filters", onclick: () => change({}) }));
  redraw($("chosen"), chips, $("results"));
}
