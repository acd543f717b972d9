// The markdown block: a useful part of CommonMark (what models write), read into DOM nodes.
import { el, link, safeUrl } from "./dom.js";
import { emojiNode } from "./mrkdwn.js";

const INLINE = new RegExp([
  "(?<code>`+)(?<codeText>.+?)\\k<code>(?!`)",
  "!?\\[(?<label>[^\\]\\n]*)\\]\\((?<address>[^()\\s]+(?:\\([^()\\s]*\\))?)(?:\\s+\"[^\"\\n]*\")?\\)",
  "(?<strongMark>\\*\\*|__)(?=\\S)(?<strong>[^\\n]*?\\S)\\k<strongMark>",
  "(?<![\\w*])\\*(?=[^\\s*])(?<em>[^*\\n]*?[^\\s*])\\*(?![\\w*])",
  "(?<!\\w)_(?=[^\\s_])(?<em2>[^_\\n]*?[^\\s_])_(?!\\w)",
  "~~(?=\\S)(?<strike>[^\\n]*?\\S)~~",
  "<(?<auto>https?:[^\\s<>]+)>",
  "(?<bare>https?:\\/\\/[^\\s<>\"')\\]]+)",
  ":(?<emoji>[a-z0-9_+-]+):",
  "\\\\(?<escaped>[\\\\`*_{}\\[\\]()#+.!|~<>-])",
].join("|"), "g");

/** Read one line of Markdown into nodes. */
function inline(text, depth = 0) {
  if (depth > 6) return [text];
  const nodes = [];
  let last = 0;
  for (const match of text.matchAll(INLINE)) {
    const g = match.groups;
    let node = match[0];
    if (g.codeText) node = el("code", {}, g.codeText.replace(/^ (.+) $/, "$1"));
    else if (g.address) node = safeUrl(g.address) ? link(g.address, inline(g.label, depth + 1)) : match[0];
    else if (g.strong) node = el("strong", {}, inline(g.strong, depth + 1));
    else if (g.em ?? g.em2) node = el("em", {}, inline(g.em ?? g.em2, depth + 1));
    else if (g.strike) node = el("s", {}, inline(g.strike, depth + 1));
    else if (g.auto ?? g.bare) node = link(g.auto ?? g.bare, g.auto ?? g.bare);
    else if (g.emoji) node = emojiNode(g.emoji) ?? match[0];
    else if (g.escaped) node = g.escaped;
    nodes.push(text.slice(last, match.index), node);
    last = match.index + match[0].length;
  }
  nodes.push(text.slice(last));
  return nodes;
}

const ITEM = /^(\s*)([-*+]|\d{1,9}[.)])\s+(.*)$/;
const RULE = /^ {0,3}(?:(?:-\s*){3,}|(?:\*\s*){3,}|(?:_\s*){3,})$/;
const HEADING = /^ {0,3}(#{1,6})\s+(.*?)\s*#*$/;
const TABLE_RULE = /^\s*\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?\s*$/;

function cells(line) {
  return line.trim().replace(/^\||\|$/g, "").split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));
}

function table(head, rule, rows) {
  const align = cells(rule).map((cell) => (/^:.*:$/.test(cell) ? "center" : /:$/.test(cell) ? "right" : "left"));
  const row = (tag, line) => el("tr", {}, cells(line).map((cell, n) => el(tag, { class: `is-${align[n] ?? "left"}` }, inline(cell))));
  return el("div", { class: "table-frame", tabindex: 0, role: "region", "aria-label": "Table" },
    el("table", {}, el("thead", {}, row("th", head)), el("tbody", {}, rows.map((line) => row("td", line)))));
}

function item(text) {
  const task = /^\[([ xX])\]\s+(.*)$/.exec(text);
  if (!task) return inline(text);
  return [el("input", { type: "checkbox", disabled: true, checked: task[1] !== " ", "aria-label": task[2] }), " ", inline(task[2])];
}

function list(all) {
  const root = { indent: -1, nodes: [], li: null };
  const stack = [root];
  for (const { indent, ordered, start, text } of all) {
    while (stack.length > 1 && indent < stack.at(-1).indent) stack.pop();
    if (stack.at(-1).indent === indent && stack.at(-1).ordered !== ordered) stack.pop();
    let top = stack.at(-1);
    if (top === root || indent > top.indent + 1) {
      const node = ordered ? el("ol", start > 1 ? { start } : {}) : el("ul");
      if (top.li) top.li.append(node);
      else root.nodes.push(node);
      top = { indent, ordered, node, li: null };
      stack.push(top);
    }
    top.li = el("li", {}, item(text));
    top.node.append(top.li);
  }
  return root.nodes;
}

/** Read Markdown into block-level nodes. */
export function markdown(source) {
  const lines = String(source ?? "").replace(/\r\n?/g, "\n").split("\n");
  const nodes = [];
  let i = 0;
  const take = (test) => {
    const taken = [];
    while (i < lines.length && test(lines[i])) taken.push(lines[i++]);
    return taken;
  };
  const starts = (line) => HEADING.test(line) || RULE.test(line) || ITEM.test(line) || /^\s*(?:```|~~~|>)/.test(line);
  while (i < lines.length) {
    const line = lines[i];
    const fence = /^\s*(```+|~~~+)/.exec(line);
    if (!line.trim()) i += 1;
    else if (fence) {
      i += 1;
      const body = take((next) => !next.trim().startsWith(fence[1]));
      i += 1;
      nodes.push(el("pre", { tabindex: 0 }, body.join("\n")));
    } else if (HEADING.test(line)) {
      const [, marks, text] = HEADING.exec(line);
      nodes.push(el("div", { class: `md-h md-h${marks.length}`, role: "heading", "aria-level": marks.length + 2 }, inline(text)));
      i += 1;
    } else if (RULE.test(line)) {
      nodes.push(el("hr"));
      i += 1;
    } else if (/^\s*>/.test(line)) {
      nodes.push(el("blockquote", {}, markdown(take((next) => /^\s*>/.test(next)).map((q) => q.replace(/^\s*> ?/, "")).join("\n"))));
    } else if (ITEM.test(line)) {
      const items = [];
      for (const raw of take((next) => ITEM.test(next) || (/^\s+\S/.test(next) && !/^\s*```/.test(next)))) {
        const found = ITEM.exec(raw);
        if (!found) items.at(-1).text += ` ${raw.trim()}`;
        else items.push({ indent: found[1].length, ordered: /\d/.test(found[2]), start: Number.parseInt(found[2], 10), text: found[3] });
      }
      nodes.push(...list(items));
    } else if (line.includes("|") && TABLE_RULE.test(lines[i + 1] ?? "")) {
      i += 2;
      nodes.push(table(line, lines[i - 1], take((next) => next.includes("|"))));
    } else {
      const text = [line];
      i += 1;
      text.push(...take((next) => next.trim() && !starts(next)));
      nodes.push(el("p", {}, text.map((part, n) => [n > 0 && el("br"), inline(part.trim())])));
    }
  }
  return nodes;
}
