// What both pages share: asking the server, making elements, telling screen readers.

export const $ = (id) => document.getElementById(id);
const RETRIES = 4;

export class Problem extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

// An element with properties (class, text, data-…, on…) and children.
export function make(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (key === "text") element.textContent = value;
    else if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value === true) element.setAttribute(key, "");
    else element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

// The answer as JSON. A busy server is asked again when it says so.
export async function ask(path, options = {}) {
  for (let attempt = 0; ; attempt += 1) {
    let answer;
    try {
      answer = await fetch(path, options);
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Problem(0, "The shop cannot be reached. Check your connection.");
    }
    if (answer.ok) return answer.status === 204 ? null : answer.json();
    const again = Number(answer.headers.get("Retry-After"));
    if (again && again <= 5 && attempt < RETRIES) {
      await new Promise((resolve) => setTimeout(resolve, 1000 * again * (1 + Math.random())));
      continue;
    }
    const inside = answer.status >= 500 && answer.status !== 503; // nothing that anybody could use
    let detail = answer.status >= 500 ? "The shop cannot answer right now; it is not your fault." : answer.statusText;
    try {
      const told = (await answer.json()).detail;
      if (told && !inside) detail = told;
    } catch { /* not one of this server's answers */ }
    throw new Problem(answer.status, detail);
  }
}

// Draws a container's children anew. The focus stays on the same control (by its data-key), or goes
// to `otherwise` if that is gone.
export function redraw(container, children, otherwise) {
  const had = container.contains(document.activeElement) ? document.activeElement : null;
  container.replaceChildren(...children);
  if (!had) return;
  const key = had.dataset.key;
  const same = key ? container.querySelector(`[data-key="${CSS.escape(key)}"]`) : null;
  (same ?? otherwise).focus({ preventScroll: true });
}

export function announce(text) {
  $("status").textContent = "";
  requestAnimationFrame(() => { $("status").textContent = text; });
}

// Pictures over 1,024 pixels are shrunk here, so that little has to be sent.
export async function shrunk(file, side = 1024) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
  } catch {
    return file; // the server says what is wrong with it
  }
  const scale = Math.min(1, side / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  return new Promise((resolve) => canvas.toBlob((blob) => resolve(blob ?? file), "image/jpeg", 0.92));
}

// A picture of a product, or a word in its place.
export function picture(address, alt, properties = {}) {
  const image = make("img", { src: address, alt, loading: "lazy", decoding: "async", ...properties });
  image.addEventListener("error", () => {
    image.replaceWith(make("span", { class: "no-picture", text: "no picture", role: "img", "aria-label": `${alt}, no picture` }));
  });
  return image;
}

// Names and values of the catalog for people: baseColour → base colour, true → yes, 9.5 → 9.50.
export const readable = (name) => name.replace(/([a-z])([A-Z])/g, "$1 $2").replace(/_/g, " ").toLowerCase();
export const titled = (name) => readable(name).replace(/^./, (letter) => letter.toUpperCase());
export function shown(name, value) {
  if (String(value) === "true" || String(value) === "false") return String(value) === "true" ? "yes" : "no";
  const isMoney = typeof value === "number" && !Number.isInteger(value) && /price|cost/i.test(name);
  return isMoney ? value.toFixed(2) : String(value);
}

export const sized = (address, side) => address.replace(/side=\d+/, `side=${side}`);
