// Slack's mrkdwn, read into DOM nodes. Entities are decoded once, at the leaves, after the marks have been found.
import { el, link, safeUrl } from "./dom.js";
import { emoji } from "./emoji.js";
import { formatDate, fullTime } from "./time.js";

const ENTITIES = { "&amp;": "&", "&lt;": "<", "&gt;": ">" };
const MARKS = { "*": "strong", _: "em", "~": "s" };
const EMOJI = /:([a-z0-9_+-]+):(?::skin-tone-\d:)?/y;
const SPECIAL = /<([^<>\n]+)>/y;
const CODE = /`([^`\n]+)`/y;
const BARE = /https?:\/\/[^\s<>|"]+/y;
const WORD = /[\p{L}\p{N}_]/u;

/** Decode the three entities that Slack uses; `&amp;lt;` becomes `&lt;` and stays so. */
export function decode(text) {
  return text.replace(/&(?:amp|lt|gt);/g, (entity) => ENTITIES[entity]);
}

/** Encode text for sending, as Slack's clients do. */
export function encode(text) {
  return text.replace(/[&<>]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;" })[c]);
}

/** Put the custom emoji mark-up (a character in its own span) for a short name, or null. */
export function emojiNode(name) {
  const character = emoji(name);
  return character && el("span", { class: "emoji", role: "img", "aria-label": `${name} emoji`, title: `:${name}:` }, character);
}

/** A mention of a person; the reader's own name is marked stronger. */
export function userNode(id, store, label) {
  const person = store.person(id);
  const mine = id === store.me?.id;
  return el("span", { class: mine ? "mention me" : "mention", "data-user": id },
    `@${person ? store.nameOf(person) : label || id}`);
}

/** A mention of a channel; a click goes there when the reader is a member. */
export function channelNode(id, store, label) {
  const channel = store.channel(id);
  const text = channel ? channel.name : label || "private-channel";
  if (!channel) return el("span", { class: "mention" }, `#${text}`);
  return el("button", { class: "mention", type: "button", onclick: () => store.go({ channel: id }) }, `#${text}`);
}

/** Everyone in a channel (`here`, `channel`, `everyone`) or a user group. */
export function broadcastNode(word) {
  return el("span", { class: "mention me" }, `@${word}`);
}

/** A moment in the reader's time zone; an unreadable one shows its fallback. */
export function dateNode(seconds, format, address, fallback) {
  const text = formatDate(seconds, format);
  if (text === null) return document.createTextNode(fallback);
  const time = el("time", { title: fullTime(new Date(Number(seconds) * 1000)) }, text);
  return address && safeUrl(address) ? link(address, time) : time;
}

function special(body, store) {
  const bar = body.indexOf("|");
  const target = bar < 0 ? body : body.slice(0, bar);
  const label = bar < 0 ? "" : decode(body.slice(bar + 1));
  if (/^@[UWB]\w+$/.test(target)) return userNode(target.slice(1), store, label.replace(/^@/, ""));
  if (/^#C\w+$/.test(target)) return channelNode(target.slice(1), store, label);
  if (target.startsWith("!date^")) {
    const [, seconds, format = "", address] = target.split("^");
    return dateNode(seconds, decode(format), address && decode(address), label);
  }
  if (target.startsWith("!subteam^")) return broadcastNode(label.replace(/^@/, "") || "group");
  if (/^!(here|channel|everyone)$/.test(target)) return broadcastNode(target.slice(1));
  const address = decode(target);
  if (safeUrl(address)) return link(address, label || address.replace(/^mailto:/, ""));
  return document.createTextNode(decode(`<${body}>`));
}

function at(pattern, text, index) {
  pattern.lastIndex = index;
  return pattern.exec(text);
}

function opens(text, i) {
  const before = text[i - 1];
  const after = text[i + 1];
  return !(before && (WORD.test(before) || before === text[i])) && after !== undefined && after !== text[i] && !/\s/.test(after);
}

/** Where the mark that opens at `from` closes on its line, past code and links, or -1. */
function closing(text, from) {
  const mark = text[from];
  for (let i = from + 1; i < text.length && text[i] !== "\n"; i += 1) {
    const pair = { "`": "`", "<": ">" }[text[i]];
    if (pair) {
      const end = text.indexOf(pair, i + 1);
      const line = text.indexOf("\n", i);
      if (end > 0 && (line < 0 || end < line)) i = end;
    } else if (text[i] === mark && !/\s/.test(text[i - 1]) && !(text[i + 1] && WORD.test(text[i + 1]))) return i;
  }
  return -1;
}

/** Read one line's worth of mrkdwn (marks, mentions, links, emoji) into nodes; `within` are the marks that are open. */
export function inline(text, store, within = "") {
  const nodes = [];
  let plain = "";
  const flush = () => {
    if (plain) nodes.push(document.createTextNode(decode(plain)));
    plain = "";
  };
  const hopeless = {};
  let i = 0;
  while (i < text.length) {
    const c = text[i];
    let node = null;
    let next = i;
    let found = null;
    if (c === "`" && (found = at(CODE, text, i))) {
      node = el("code", {}, decode(found[1]));
      next = CODE.lastIndex;
    } else if (c === "<" && (found = at(SPECIAL, text, i))) {
      node = special(found[1], store);
      next = SPECIAL.lastIndex;
    } else if (MARKS[c] && !within.includes(c) && i >= (hopeless[c] ?? 0) && opens(text, i)) {
      const end = closing(text, i);
      if (end > 0) {
        node = el(MARKS[c], {}, inline(text.slice(i + 1, end), store, within + c));
        next = end + 1;
      } else hopeless[c] = `${text}\n`.indexOf("\n", i);
    } else if (c === ":" && (found = at(EMOJI, text, i))) {
      node = emojiNode(found[1]);
      next = EMOJI.lastIndex;
    } else if (c === "h" && (i === 0 || !WORD.test(text[i - 1])) && (found = at(BARE, text, i))) {
      const address = found[0].replace(/[.,;:!?)\]'*_~]+$/, "");
      node = link(decode(address), decode(address));
      next = i + address.length;
    }
    if (node) {
      flush();
      nodes.push(node);
      i = next;
    } else {
      plain += c;
      i += 1;
    }
  }
  flush();
  return nodes;
}

function lines(text, store) {
  const nodes = [];
  let quote = [];
  const close = () => {
    if (quote.length) nodes.push(el("blockquote", {}, joined(quote, store)));
    quote = [];
  };
  let run = [];
  const end = () => {
    if (run.length) nodes.push(joined(run, store));
    run = [];
  };
  for (const line of text.split("\n")) {
    const quoted = /^(?:>|&gt;) ?(.*)$/.exec(line);
    if (quoted) {
      end();
      quote.push(quoted[1]);
    } else {
      close();
      run.push(line);
    }
  }
  close();
  end();
  return nodes;
}

function joined(all, store) {
  return all.map((line, n) => [n > 0 && el("br"), inline(line, store)]);
}

/** Read a whole mrkdwn text, with fences and quotes, into nodes. */
export function mrkdwn(text, store) {
  return String(text ?? "").split(/```/).reduce((nodes, part, n, all) => {
    const fenced = n % 2 === 1;
    if (fenced && n === all.length - 1) return [...nodes, lines(`\`\`\`${part}`, store)];
    if (fenced) return [...nodes, el("pre", { tabindex: 0 }, decode(part.replace(/^\n|\n$/g, "")))];
    const trimmed = part.replace(n > 0 ? /^\n/ : /^$/, "").replace(n < all.length - 1 ? /\n$/ : /$^/, "");
    return trimmed ? [...nodes, lines(trimmed, store)] : nodes;
  }, []);
}

/** Read a Block Kit text object: mrkdwn is parsed, plain text only has its emoji drawn. */
export function textObject(object, store) {
  if (!object) return [];
  if (typeof object === "string") return mrkdwn(object, store);
  if (object.type === "mrkdwn") return mrkdwn(object.text, store);
  return plainNodes(object.text, object.emoji !== false);
}

/** Plain text with its line breaks and, if wanted, its emoji. */
export function plainNodes(text, withEmoji = true) {
  return String(text ?? "").split("\n").map((line, n) => [
    n > 0 && el("br"),
    withEmoji ? line.split(/(:[a-z0-9_+-]+:)/).map((bit) => (/^:.+:$/.test(bit) && emojiNode(bit.slice(1, -1))) || bit) : line,
  ]);
}
