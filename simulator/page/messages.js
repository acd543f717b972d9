// Messages: one row each, and the list of them with days, groups and the "new" mark.
import { drawAttachment, drawBlocks } from "./blocks.js";
import { el, reconcile } from "./dom.js";
import { toast } from "./dialog.js";
import { fileChip } from "./files.js";
import { Form } from "./form.js";
import { icon } from "./icons.js";
import { openMenu } from "./menu.js";
import { emojiNode, mrkdwn } from "./mrkdwn.js";
import { messageMenu } from "./shortcuts.js";
import { ago, clock, dayKey, dayName, fullTime, moment } from "./time.js";

const GROUP_SECONDS = 300;
const ACTION_ERRORS = {
  no_connection: "The simulator cannot be reached.",
  timeout: "This app did not respond in time",
  dispatch_failed: "This app did not respond in time",
  message_not_found: "This message is no longer there.",
};
const QUICK_REACTIONS = ["+1", "white_check_mark", "eyes", "tada", "heart"];

/** The words for an action that came to nothing. */
export function actionError(error) {
  return ACTION_ERRORS[error] ?? `This did not work (${error ?? "no answer"}). Please try again.`;
}

/** A square with a person's initials, or the app's key. */
export function avatar(person, store, size = 36) {
  if (person?.id === store.app.user_id || person?.role === "bot") {
    return el("span", { class: `avatar app s${size}`, "aria-hidden": "true" }, icon("shield", Math.round(size * 0.62)));
  }
  const node = el("span", { class: `avatar s${size}`, "aria-hidden": "true" }, person?.avatar ?? "?");
  if (/^#[0-9a-f]{3,8}$/i.test(person?.color ?? "")) node.style.background = person.color;
  return node;
}

function author(message, store) {
  const known = store.person(message.user);
  if (known) return known;
  if (message.bot_id) return { id: store.app.user_id, name: store.app.name, role: "bot" };
  return { id: message.user, name: message.user ?? "Unknown" };
}

const STREAM_ENDS = { expired: ["failed", "This answer broke off"], stopped: ["stop", "Stopped"] };

function streamEnd(message) {
  const [name, words] = STREAM_ENDS[message.streaming_state] ?? [];
  return name && el("div", { class: `stream-end ${message.streaming_state}` }, icon(name, 14), words);
}

function content(message, store) {
  const ctx = {
    store,
    surface: "message",
    form: new Form(),
    send: async (element, block, state) => {
      const answer = await store.api.post("action", {
        channel: message.channel, ts: message.ts, ...(message.thread_ts && { thread_ts: message.thread_ts }),
        block_id: block.block_id, action_id: element.action_id, type: element.type, ...state,
        ...(ctx.form.filled && { values: ctx.form.values() }),
      });
      if (answer.ok === false) toast(actionError(answer.error), "error");
      return answer.ok !== false;
    },
  };
  const when = message.edited?.ts ? fullTime(moment(message.edited.ts)) : "";
  const edited = message.edited && el("span", { class: "edited", title: when }, "(edited)");
  return [
    message.blocks?.length
      ? [drawBlocks(message.blocks, ctx), edited]
      : (message.text || !message.files?.length) && el("div", { class: "text" }, mrkdwn(message.text, store), edited),
    (message.attachments ?? []).map((attachment) => drawAttachment(attachment, ctx)),
    message.files?.length > 0 && el("div", { class: "files" }, message.files.map((file) => fileChip(file, store))),
    streamEnd(message),
  ];
}

async function react(message, store, name, remove) {
  const answer = await store.api.post("react", { channel: message.channel, ts: message.ts, name, remove });
  if (answer.ok === false && answer.error !== "already_reacted") toast(actionError(answer.error), "error");
}

function reactMenu(anchor, message, store) {
  openMenu(anchor, QUICK_REACTIONS.map((name) => ({
    node: [emojiNode(name), el("span", {}, `:${name}:`)], pick: () => react(message, store, name, false),
  })), { label: "Add reaction", align: "right" });
}

function reactions(message, store) {
  if (!message.reactions?.length) return null;
  return el("div", { class: "reactions" }, message.reactions.map((reaction) => {
    const names = (reaction.users ?? []).map((id) => store.nameOf(store.person(id))).join(", ");
    const mine = (reaction.users ?? []).includes(store.me.id);
    return el("button", {
      type: "button", class: mine ? "reaction mine" : "reaction", "data-reaction": reaction.name, "aria-pressed": String(mine),
      title: `${names} reacted with :${reaction.name}:`, onclick: () => react(message, store, reaction.name, mine),
    },
      emojiNode(reaction.name) ?? `:${reaction.name}:`, el("span", {}, reaction.count ?? reaction.users?.length ?? 1));
  }));
}

function threadLink(message, store) {
  const count = message.reply_count ?? 0;
  const status = store.status(message.channel, message.ts)?.words;
  const open = () => store.go({ channel: message.channel, thread: message.ts });
  return [
    count > 0 && el("button", { type: "button", class: "thread-link", "data-thread": message.ts, onclick: open },
      (message.reply_users ?? []).slice(0, 4).map((id) => avatar(store.person(id) ?? { id, role: "bot" }, store, 24)),
      el("span", { class: "thread-count" }, `${count} ${count === 1 ? "reply" : "replies"}`),
      message.latest_reply && el("span", { class: "thread-last" }, `Last reply ${ago(moment(message.latest_reply))}`),
      el("span", { class: "thread-view" }, "View thread")),
    status && el("div", { class: "status inline" }, el("span", { class: "dots", "aria-hidden": "true" }), status),
  ];
}

async function copyLink(message) {
  const hash = new URLSearchParams(location.hash.slice(1));
  hash.set("channel", message.channel);
  hash.set("thread", message.thread_ts ?? message.ts);
  try {
    await navigator.clipboard.writeText(`${location.origin}/#${hash}`);
    toast("Link copied");
  } catch {
    toast("The browser did not allow copying.", "error");
  }
}

function tools(message, store, inThread) {
  if (message.ephemeral) return null;
  return el("div", { class: "tools", role: "group", "aria-label": "Message actions" },
    el("button", {
      type: "button", tabindex: -1, title: "Add reaction", "aria-label": "Add reaction", "aria-haspopup": "menu",
      onclick: (event) => reactMenu(event.currentTarget, message, store),
    }, icon("smile", 18)),
    !inThread && el("button", {
      type: "button", tabindex: -1, title: "Reply in thread", "aria-label": "Reply in thread",
      onclick: () => store.go({ channel: message.channel, thread: message.thread_ts ?? message.ts }),
    }, icon("reply", 18)),
    el("button", {
      type: "button", tabindex: -1, title: "More actions", "aria-label": "More actions", "aria-haspopup": "menu", "data-message-menu": message.ts,
      onclick: (event) => messageMenu(event.currentTarget, message, store, [{ label: "Copy link", pick: () => copyLink(message) }]),
    }, icon("more", 18)));
}

/** Draw one message; `grouped` leaves the head out. */
export function drawMessage(message, store, { grouped = false, inThread = false } = {}) {
  const date = moment(message.ts);
  const who = author(message, store);
  const name = store.nameOf(who);
  const time = (className, text) => el("time", { class: className, datetime: date.toISOString(), title: fullTime(date) }, text);
  return el("article", {
    class: ["message", grouped && "grouped", message.ephemeral && "ephemeral", message.streaming_state === "in_progress" && "streaming"].filter(Boolean).join(" "),
    tabindex: -1, "data-ts": message.ts, "data-user": message.user ?? null, "aria-label": `${name}, ${clock(date)}`,
    "data-streaming": message.streaming_state ?? null, "aria-busy": message.streaming_state === "in_progress" ? "true" : null,
  },
  message.ephemeral && el("div", { class: "only-you" }, icon("eye", 14), "Only visible to you",
    el("button", { type: "button", class: "link", onclick: () => store.dismiss(message.ts) }, "Dismiss")),
  el("div", { class: "message-row" },
    el("div", { class: "gutter" }, grouped ? time("gutter-time", clock(date).replace(/ [AP]M$/, "")) : avatar(who, store)),
    el("div", { class: "message-main" },
      !grouped && el("div", { class: "message-head" },
        el("span", { class: "name" }, name),
        who.role === "bot" && el("span", { class: "app-tag" }, "APP"),
        who.role === "external" && el("span", { class: "app-tag" }, "EXTERNAL"),
        time("time", clock(date))),
      el("div", { class: "message-body" }, content(message, store)),
      reactions(message, store),
      !inThread && threadLink(message, store))),
  tools(message, store, inThread));
}

function rows(messages, store, { mark = null, days = true }) {
  const all = [];
  let previous = null;
  for (const message of messages) {
    const date = moment(message.ts);
    const newDay = !previous || dayKey(moment(previous.ts)) !== dayKey(date);
    const marked = mark === message.ts;
    if (days && newDay) all.push({ kind: "day", key: `day-${dayKey(date)}`, text: dayName(date), marked });
    else if (marked) all.push({ kind: "new", key: "new" });
    const same = previous && !newDay && !marked && previous.user === message.user && previous.bot_id === message.bot_id
      && !message.ephemeral && !previous.ephemeral && Number(message.ts) - Number(previous.ts) < GROUP_SECONDS;
    all.push({ kind: "message", key: message.ts, message, grouped: Boolean(same) });
    previous = message;
  }
  return all;
}

/** Bring a list element in line with messages; scrolling stays at the end when it was there. */
export function drawList(list, messages, store, { mark = null, days = true, inThread = false, toEnd = false, drawn = null } = {}) {
  const scroller = list.closest(".scroller");
  const atEnd = toEnd || scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 80;
  reconcile(list, rows(messages, store, { mark, days }), {
    key: (row) => row.key,
    signature: (row) => JSON.stringify([row, row.message && !inThread && store.status(row.message.channel, row.message.ts)?.words]),
    draw: (row) => {
      if (row.kind === "day") {
        return el("div", { class: row.marked ? "day new" : "day", role: "separator", "aria-label": row.text },
          el("span", { class: "pill" }, row.text), row.marked && el("span", { class: "new-word" }, "New"));
      }
      if (row.kind === "new") return el("div", { class: "new-line", role: "separator", "aria-label": "New messages" }, el("span", { class: "new-word" }, "New"));
      return drawMessage(row.message, store, { grouped: row.grouped, inThread });
    },
  });
  const all = [...list.querySelectorAll(".message")];
  if (all.length && !all.some((node) => node.tabIndex === 0)) all.at(-1).tabIndex = 0;
  drawn?.();
  if (atEnd) scroller.scrollTop = scroller.scrollHeight;
}
