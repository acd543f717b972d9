// Blocks of structured text: rich_text and table.
import { el, link } from "./dom.js";
import { broadcastNode, channelNode, dateNode, emojiNode, userNode } from "./mrkdwn.js";

const STYLES = { bold: "strong", italic: "em", strike: "s", code: "code", underline: "u" };

function styled(node, style) {
  return Object.keys(STYLES).reduce((inner, name) => (style?.[name] ? el(STYLES[name], {}, inner) : inner), node);
}

function broken(text) {
  return el("span", {}, String(text ?? "").split("\n").map((line, n) => [n > 0 && el("br"), line]));
}

function leaf(part, store) {
  switch (part.type) {
    case "text": return styled(broken(part.text), part.style);
    case "link": return styled(link(part.url, part.text || part.url), part.style);
    case "user": return styled(userNode(part.user_id, store), part.style);
    case "channel": return styled(channelNode(part.channel_id, store), part.style);
    case "usergroup": return broadcastNode("group");
    case "broadcast": return broadcastNode(part.range ?? "here");
    case "emoji": return emojiNode(part.name) ?? document.createTextNode(`:${part.name}:`);
    case "date": return dateNode(part.timestamp, part.format ?? "{date}", part.url, part.fallback ?? "");
    case "color": return el("code", {}, el("span", { class: "swatch" }), part.value);
    default: return el("span", { class: "unknown-inline" }, part.text ?? part.type);
  }
}

function leaves(elements, store) {
  return (elements ?? []).map((part) => leaf(part, store));
}

function plainText(elements) {
  return (elements ?? []).map((part) => part.text ?? part.url ?? "").join("");
}

function section(part, store) {
  switch (part.type) {
    case "rich_text_section": return el("div", { class: "rt-section" }, leaves(part.elements, store));
    case "rich_text_quote": return el("blockquote", {}, leaves(part.elements, store));
    case "rich_text_preformatted": return el("pre", { tabindex: 0 }, plainText(part.elements));
    case "rich_text_list": {
      const tag = part.style === "ordered" ? "ol" : "ul";
      const start = tag === "ol" && part.offset ? part.offset + 1 : null;
      return el(tag, { class: `rt-list indent-${Math.min(Number(part.indent) || 0, 8)}`, start },
        (part.elements ?? []).map((item) => el("li", {}, leaves(item.elements, store))));
    }
    default: return el("div", { class: "unknown-inline" }, part.type);
  }
}

/** Draw a rich_text block. */
export function richText(block, store) {
  return el("div", { class: "rich-text" }, (block.elements ?? []).map((part) => section(part, store)));
}

function cell(value, store) {
  if (value?.type === "rich_text") return richText(value, store);
  return broken(value?.text ?? value?.value ?? "");
}

/** Draw a table block; its first row is the head. */
export function tableBlock(block, store) {
  const [head = [], ...rows] = block.rows ?? [];
  const row = (tag, cells) => el("tr", {}, cells.map((value, n) => {
    const setting = block.column_settings?.[n];
    const align = setting?.align ?? ((rows[0]?.[n] ?? value)?.type === "raw_number" ? "right" : "left");
    return el(tag, { class: `is-${align}${setting?.is_wrapped ? " wraps" : ""}` }, cell(value, store));
  }));
  return el("div", { class: "table-frame", tabindex: 0, role: "region", "aria-label": "Table" },
    el("table", {}, el("thead", {}, row("th", head)), el("tbody", {}, rows.map((cells) => row("td", cells)))));
}
