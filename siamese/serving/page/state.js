// What is asked, as it lies in the page's address, so that back, reload and links work.

export const EMPTY = { query: null, like: null, filters: {}, likes: [], dislikes: [], top: 20 };
export const hasTaste = (wanted) => wanted.likes.length + wanted.dislikes.length > 0;
export const tasteOf = ({ likes, dislikes }) => JSON.stringify({ likes, dislikes });

export function addressOf(wanted) {
  const parts = new URLSearchParams();
  if (wanted.query) parts.set("q", wanted.query);
  if (wanted.like) parts.set("like", wanted.like);
  if (Object.keys(wanted.filters).length) parts.set("f", JSON.stringify(wanted.filters));
  if (hasTaste(wanted)) parts.set("t", tasteOf(wanted));
  if (wanted.top !== EMPTY.top) parts.set("n", String(wanted.top));
  const text = parts.toString();
  return text ? `/?${text}` : "/";
}

export function stateOf(address) {
  const parts = new URLSearchParams(address);
  const filters = objectOf(parts.get("f")), taste = objectOf(parts.get("t"));
  const names = (value) => (Array.isArray(value) ? value.map(String) : []);
  const top = Math.min(100, Math.max(1, Number(parts.get("n")) || EMPTY.top));
  return { query: parts.get("q"), like: parts.get("like"), filters, likes: names(taste.likes), dislikes: names(taste.dislikes), top };
}

const withoutNull = (given) => Object.fromEntries(Object.entries(given).filter(([, value]) => value !== null));

// JSON from a link; a damaged one says nothing.
function objectOf(text) {
  try {
    const given = JSON.parse(text ?? "{}");
    if (given && typeof given === "object" && !Array.isArray(given)) return withoutNull(given);
  } catch { /* as if it were not there */ }
  return {};
}
