// The customer's photo: taken in by every way there is, shown with a frame that can be moved.

import { available, shoot } from "./camera.js";
import { $, make, redraw } from "./common.js";

const LEAST = 0.04; // of the photo's side; a smaller frame cannot be grasped
const STEP = 0.02; // of a key
let frame = null; // x1, y1, x2, y2 as shares of the photo; null for all of it
let shown = null; // address of the picture in memory
let moved = () => {};

// Calls `take(file)` for each photo that comes in.
export function listen(take) {
  const first = (files) => { const file = [...files].find((each) => each.type.startsWith("image/") || !each.type); if (file) take(file); };
  $("choose").addEventListener("click", () => $("file").click());
  $("shoot").addEventListener("click", () => shoot($("camera"), take));
  $("shoot").hidden = !available();
  for (const input of [$("file"), $("camera")]) {
    input.addEventListener("change", () => { first(input.files); input.value = ""; });
  }
  addEventListener("paste", (event) => first(event.clipboardData?.files ?? []));
  let inside = 0;
  const dragging = (change) => { inside = Math.max(0, inside + change); document.body.classList.toggle("dragging", inside > 0); };
  addEventListener("dragenter", (event) => { event.preventDefault(); dragging(1); });
  addEventListener("dragleave", () => dragging(-1));
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => { event.preventDefault(); inside = 0; dragging(0); first(event.dataTransfer.files); });
}

// Shows a photo; `change(box)` is called when the customer has moved the frame.
export function show(blob, change) {
  moved = change;
  if (shown) URL.revokeObjectURL(shown);
  shown = URL.createObjectURL(blob);
  $("photo").src = shown;
  place(null);
}

export function setBox(box) { // in pixels
  const { naturalWidth: width, naturalHeight: height } = $("photo");
  if (!width) {
    $("photo").addEventListener("load", () => setBox(box), { once: true });
    return;
  }
  place(box ? [box[0] / width, box[1] / height, box[2] / width, box[3] / height] : [0, 0, 1, 1]);
}

function pixels() {
  const { naturalWidth: width, naturalHeight: height } = $("photo");
  const [x1, y1, x2, y2] = frame;
  if (x1 === 0 && y1 === 0 && x2 === 1 && y2 === 1) return null;
  return [x1 * width, y1 * height, x2 * width, y2 * height].map((side) => Math.round(side));
}

function place(next) {
  frame = next;
  const box = $("box");
  box.hidden = next === null;
  if (next === null) return;
  const percent = (share) => `${(100 * share).toFixed(2)}%`;
  box.style.left = percent(next[0]);
  box.style.top = percent(next[1]);
  box.style.width = percent(next[2] - next[0]);
  box.style.height = percent(next[3] - next[1]);
  const whole = (share) => Math.round(100 * share);
  box.setAttribute("aria-label", `Searched part: ${whole(next[2] - next[0])} percent of the width and ${whole(next[3] - next[1])} percent of the height, from ${whole(next[0])} percent left and ${whole(next[1])} percent from the top`);
}

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

// The frame, moved or with a side pulled, within the photo.
function changed([x1, y1, x2, y2], dx, dy, sides) {
  if (sides === "all") {
    const across = clamp(dx, -x1, 1 - x2), down = clamp(dy, -y1, 1 - y2);
    return [x1 + across, y1 + down, x2 + across, y2 + down];
  }
  if (sides.includes("w")) x1 = clamp(x1 + dx, 0, x2 - LEAST);
  if (sides.includes("e")) x2 = clamp(x2 + dx, x1 + LEAST, 1);
  if (sides.includes("n")) y1 = clamp(y1 + dy, 0, y2 - LEAST);
  if (sides.includes("s")) y2 = clamp(y2 + dy, y1 + LEAST, 1);
  return [x1, y1, x2, y2];
}

let timer;
function settle() {
  clearTimeout(timer);
  timer = setTimeout(() => moved(pixels()), 250);
}

function grasp(event) {
  if (!frame || event.button > 0) return;
  event.preventDefault();
  const area = $("stage").getBoundingClientRect();
  const x = (event.clientX - area.left) / area.width, y = (event.clientY - area.top) / area.height;
  const corner = event.target.classList.contains("corner") ? event.target.classList[1] : null;
  const onBox = event.target.closest("#box") && !(frame[2] - frame[0] > 0.97 && frame[3] - frame[1] > 0.97);
  let start = frame, sides = corner ?? "all";
  if (!corner && !onBox) { // a new frame is drawn
    start = [clamp(x, 0, 1 - LEAST), clamp(y, 0, 1 - LEAST), clamp(x, 0, 1 - LEAST) + LEAST, clamp(y, 0, 1 - LEAST) + LEAST];
    sides = "se";
  }
  $("box").focus({ preventScroll: true });
  $("stage").setPointerCapture(event.pointerId);
  let drawn = false;
  const drag = (next) => {
    const dx = (next.clientX - area.left) / area.width - x, dy = (next.clientY - area.top) / area.height - y;
    drawn = drawn || Math.hypot(dx, dy) > 0.01;
    if (drawn) place(changed(start, dx, dy, sides));
  };
  const drop = () => {
    $("stage").removeEventListener("pointermove", drag);
    if (drawn) settle();
  };
  $("stage").addEventListener("pointermove", drag);
  for (const end of ["pointerup", "pointercancel"]) $("stage").addEventListener(end, drop, { once: true });
}

const KEYS = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] };
$("stage").addEventListener("pointerdown", grasp);
$("box").addEventListener("keydown", (event) => {
  const move = KEYS[event.key];
  if (!move) return;
  event.preventDefault();
  place(changed(frame, ...move, event.shiftKey ? "se" : "all"));
  settle();
});

// A button for each garment that was found, and one for the whole photo.
export function offer(garments, box, choose) {
  const same = (one, other) => one && other && one.every((side, place) => Math.abs(side - other[place]) < 1.5);
  const kinds = { upper: "Top", lower: "Bottom", full: "Dress", shoes: "Shoes", bag: "Bag" };
  const choices = garments.filter(({ group }) => group in kinds).map((garment) => [kinds[garment.group], garment.box]);
  const pressed = choices.findIndex(([, part]) => same(part, box));
  redraw($("garments"), [...choices, ["Whole photo", null]].map(([name, part], place) =>
    make("button", { type: "button", text: name, "data-key": part ? `${place} ${name}` : "whole", "aria-pressed": String(part ? place === pressed : !box), onclick: () => choose(part) })), $("results"));
}
