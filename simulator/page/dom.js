// Small builders over the DOM. Data reaches the page only as text nodes and attributes, never as HTML.

const SVG = "http://www.w3.org/2000/svg";
const SAFE_SCHEMES = new Set(["http:", "https:", "mailto:"]);

/** Build an element. `on…` properties listen, `false` and `null` are left out, `true` is an empty attribute. */
export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on") && typeof value === "function") node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  put(node, children);
  return node;
}

/** Append children, however deeply nested in arrays; text stays text. */
export function put(node, children) {
  for (const child of [children].flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    node.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return node;
}

/** Replace what a node holds. */
export function fill(node, ...children) {
  node.replaceChildren();
  return put(node, children);
}

/** Say whether what a node is drawn from has changed, and remember it; an unchanged node is better left alone. */
export function changed(node, ...sources) {
  const signature = JSON.stringify(sources);
  if (node.signature === signature) return false;
  node.signature = signature;
  return true;
}

/** Draw an icon of 20 units, stroked in the current colour. `paths` are constants of this page. */
export function svg(paths, size = 20) {
  const root = document.createElementNS(SVG, "svg");
  for (const [name, value] of Object.entries({
    viewBox: "0 0 20 20", width: size, height: size, fill: "none", stroke: "currentColor",
    "stroke-width": 1.5, "stroke-linecap": "round", "stroke-linejoin": "round", "aria-hidden": "true",
  })) root.setAttribute(name, value);
  for (const d of paths) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", d);
    root.append(path);
  }
  return root;
}

/** Give back an address that is safe to follow, or null (`javascript:` and the like). */
export function safeUrl(address) {
  try {
    const url = new URL(address);
    return SAFE_SCHEMES.has(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}

/** Give back an address that is safe to show as a picture, or null. */
export function safeImage(address) {
  const url = safeUrl(address);
  return url && !url.startsWith("mailto:") ? url : null;
}

/** A link that opens elsewhere; an unsafe address leaves its label as plain text. */
export function link(address, ...label) {
  const href = safeUrl(address);
  if (!href) return el("span", { class: "not-a-link" }, label);
  return el("a", { href, target: "_blank", rel: "noopener noreferrer" }, label);
}

/**
 * Bring a container's children in line with `items`, touching only what changed, so that focus, open menus and
 * buttons in flight survive a push. `spec` has `key(item)`, `signature(item)` and `draw(item)`.
 */
export function reconcile(container, items, spec) {
  const old = new Map([...container.children].map((node) => [node.dataset.key, node]));
  let before = container.firstElementChild;
  for (const item of items) {
    const key = spec.key(item);
    const signature = spec.signature(item);
    const node = old.get(key);
    old.delete(key);
    if (node === before && node) before = node.nextElementSibling;
    if (node?.signature === signature) {
      if (node.nextElementSibling !== before) container.insertBefore(node, before);
      continue;
    }
    const fresh = spec.draw(item);
    fresh.dataset.key = key;
    fresh.signature = signature;
    const focused = node?.contains(document.activeElement) ? document.activeElement.dataset.actionId : null;
    const wasFocused = node && node === document.activeElement;
    node?.remove();
    container.insertBefore(fresh, before);
    if (wasFocused) fresh.focus();
    if (focused) fresh.querySelector(`[data-action-id="${CSS.escape(focused)}"]`)?.focus();
  }
  for (const node of old.values()) node.remove();
}
