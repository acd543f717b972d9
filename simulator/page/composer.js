// The composer: Enter sends, Shift+Enter breaks the line, @ and / and : offer completions.
import { toast } from "./dialog.js";
import { el, fill } from "./dom.js";
import { emoji, emojiNames } from "./emoji.js";
import { Attachments } from "./files.js";
import { icon } from "./icons.js";
import { avatar } from "./messages.js";
import { encode } from "./mrkdwn.js";
import { globalMenu } from "./shortcuts.js";

const FORMATS = [
  ["bold", "Bold", (t) => `*${t}*`], ["italic", "Italic", (t) => `_${t}_`], ["strike", "Strikethrough", (t) => `~${t}~`],
  ["quote", "Quote", (t) => t.replace(/^/gm, "> ")], ["bullets", "Bulleted list", (t) => t.replace(/^/gm, "• ")],
  ["code", "Code", (t) => (t.includes("\n") ? `\`\`\`\n${t}\n\`\`\`` : `\`${t}\``)],
];
const SEND_ERRORS = {
  no_connection: "Your message was not sent: the simulator cannot be reached.",
  is_archived: "Your message was not sent: this channel is archived.",
  channel_not_found: "Your message was not sent: you are not in this channel.",
  msg_too_long: "Your message was not sent: it is too long.",
};
const escaped = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
let serial = 0;

/** Turn what was typed into what Slack would send: names become mentions, the rest is encoded. */
export function outgoing(typed, store) {
  const names = new Map();
  for (const person of store.people) {
    for (const name of [store.nameOf(person), person.name]) if (name) names.set(`@${name.toLowerCase()}`, `<@${person.id}>`);
  }
  for (const channel of store.channels) if (!channel.is_im) names.set(`#${channel.name.toLowerCase()}`, `<#${channel.id}|${channel.name}>`);
  for (const word of ["here", "channel", "everyone"]) names.set(`@${word}`, `<!${word}>`);
  const keys = [...names.keys()].sort((a, b) => b.length - a.length).map((name) => escaped(encode(name)));
  const mention = new RegExp(`(?<![\\w@])(?:${keys.join("|")})(?![\\w-])`, "gi");
  const decodeKey = (key) => key.replaceAll("&amp;", "&").toLowerCase();
  return typed.split(/(```[\s\S]*?```|`[^`\n]+`)/)
    .map((bit, n) => (n % 2 ? encode(bit) : encode(bit).replace(mention, (found) => names.get(decodeKey(found)) ?? found)))
    .join("");
}

/** A composer for one place. `place()` gives `{channel, thread_ts?}`, `hint()` the placeholder. */
export class Composer {
  #drafts = new Map();
  #key = "";
  #offers = [];
  #chosen = 0;

  constructor(store, { place, hint, label }) {
    serial += 1;
    this.store = store;
    this.place = place;
    this.hint = hint;
    this.listId = `offers-${serial}`;
    this.input = el("textarea", {
      class: "composer-input", rows: 1, "aria-label": label, "data-composer": label, autocomplete: "off", "aria-autocomplete": "list",
      "aria-controls": this.listId, oninput: () => this.#typed(), onkeydown: (event) => this.#key_(event), onblur: () => this.#offer([]),
    });
    this.offers = el("div", { class: "offers", id: this.listId, role: "listbox", "aria-label": "Suggestions", hidden: true });
    this.button = el("button", { type: "button", class: "send", "aria-label": "Send now", title: "Send now", disabled: true, onclick: () => this.send() }, icon("send", 17));
    const insert = (text) => () => {
      this.input.focus();
      this.#replace(this.input.selectionStart, this.input.selectionEnd, text);
    };
    const tool = (name, title, act) => el("button", { type: "button", class: "tool", title, "aria-label": title, onclick: act }, icon(name, 18));
    this.files = new Attachments(() => this.#ready());
    this.node = el("form", {
      class: "composer", onsubmit: (event) => event.preventDefault(),
      ondragover: (event) => {
        event.preventDefault();
        this.node.classList.add("dropping");
      },
      ondragleave: () => this.node.classList.remove("dropping"),
      ondrop: (event) => {
        event.preventDefault();
        this.node.classList.remove("dropping");
        this.files.add(event.dataTransfer.files);
      },
      onpaste: (event) => this.files.add(event.clipboardData?.files ?? []),
    },
      this.offers,
      el("div", { class: "composer-tools", role: "toolbar", "aria-label": "Formatting" }, FORMATS.map(([name, title, wrap]) => tool(name, title, () => this.#wrap(wrap)))),
      this.input, this.files.node, this.files.input,
      el("div", { class: "composer-foot" },
        tool("clip", "Attach files", () => this.files.input.click()),
        el("button", {
          type: "button", class: "tool", title: "Shortcuts", "aria-label": "Shortcuts", "aria-haspopup": "menu", "data-shortcuts": true,
          onclick: (event) => globalMenu(event.currentTarget, store),
        }, icon("bolt", 18)),
        tool("at", "Mention someone", insert("@")), tool("slash", "Run a command", insert("/")), el("span", { class: "grow" }), this.button));
  }

  /** Show this place's draft and hint; keep the draft of the place that was left. */
  refresh() {
    const { channel, thread_ts: threadTs } = this.place();
    const key = `${this.store.me?.id}:${channel}:${threadTs ?? ""}`;
    if (key !== this.#key) {
      this.#drafts.set(this.#key, this.input.value);
      this.input.value = this.#drafts.get(key) ?? "";
      this.#key = key;
      this.#typed();
    }
    this.input.placeholder = this.hint();
  }

  focus() {
    this.input.focus({ preventScroll: true });
  }

  /** Fill in a text and send it, as a suggested prompt does. */
  say(text) {
    this.input.value = text;
    this.#typed();
    return this.send();
  }

  async send() {
    const typed = this.input.value.trim();
    if (!typed && !this.files.count) return;
    const { channel, thread_ts: threadTs } = this.place();
    const key = this.#key;
    const files = this.files.take();
    this.input.value = "";
    this.#typed();
    this.#offer([]);
    const answer = typed.startsWith("/") && /^\/[\w-]+/.test(typed) && !files.length
      ? await this.#command(typed, channel, threadTs)
      : await this.#post(typed, files, channel, threadTs);
    if (answer.ok === false) {
      const silent = answer.error === "dispatch_failed" || answer.error === "invalid_command";
      if (!silent) toast(answer.words ?? SEND_ERRORS[answer.error] ?? `Your message was not sent (${answer.error}).`, "error");
      if (key === this.#key && !this.input.value) {
        this.input.value = typed;
        this.files.add(files);
        this.#typed();
      }
    }
  }

  async #post(typed, files, channel, threadTs) {
    const text = outgoing(typed, this.store);
    const attached = files.length ? { files: await Attachments.encode(files) } : {};
    return this.store.api.post("post", { channel, text, ...(threadTs && { thread_ts: threadTs }), ...attached });
  }

  #ready() {
    this.button.disabled = !this.input.value.trim() && !this.files.count;
  }

  async #command(typed, channel, threadTs) {
    const [, command, text] = /^(\/\S+)\s*([\s\S]*)$/.exec(typed);
    if (!this.store.commands.some((each) => each.command === command)) {
      return { ok: false, words: `${command} is not a valid command. In Slack, all messages that start with “/” are commands.` };
    }
    if (threadTs) return { ok: false, words: `${command} is not supported in threads. Sorry!` };
    const answer = await this.store.api.post("command", { channel, command, text });
    return { ...answer, words: `${command} failed with the error “${answer.error}”` };
  }

  #wrap(wrap) {
    const { selectionStart: from, selectionEnd: to, value } = this.input;
    const text = wrap(value.slice(from, to));
    this.input.focus();
    this.#replace(from, to, text);
    if (from === to && text.length % 2 === 0) this.input.setSelectionRange(from + text.length / 2, from + text.length / 2);
  }

  #replace(from, to, text) {
    this.input.setRangeText(text, from, to, "end");
    this.#typed();
  }

  #typed() {
    const { input } = this;
    input.style.height = "auto";
    if (input.scrollHeight) input.style.height = `${Math.min(input.scrollHeight, 240)}px`;
    this.#ready();
    this.#offer(document.activeElement === input ? this.#find() : []);
  }

  #find() {
    const before = this.input.value.slice(0, this.input.selectionStart);
    const to = before.length;
    const command = /^\/(\S*)$/.exec(before);
    if (command) {
      return this.store.commands.filter((each) => each.command.startsWith(before)).map((each) => ({
        from: 0, to, text: `${each.command} `, label: each.command, note: [each.usage_hint, each.description].filter(Boolean).join(" — "),
      }));
    }
    const name = /(?:^|[\s(])@([\p{L}\p{N} ._-]{0,30})$/u.exec(before);
    if (name) {
      const wanted = name[1].toLowerCase();
      const from = to - name[1].length - 1;
      const people = this.store.people.filter((person) => !person.deleted && person.id !== this.store.me.id
        && [this.store.nameOf(person), person.name].some((each) => each.toLowerCase().startsWith(wanted)));
      const rank = (person) => (person.role === "bot" ? 0 : 1);
      return people.sort((a, b) => rank(a) - rank(b)).slice(0, 8).map((person) => ({
        from, to, text: `@${this.store.nameOf(person)} `, label: this.store.nameOf(person), note: person.title, icon: avatar(person, this.store, 24),
      }));
    }
    const smile = /(?:^|\s):([a-z0-9_+-]{2,})$/.exec(before);
    if (smile) {
      const from = to - smile[1].length - 1;
      return emojiNames(smile[1]).map((each) => ({ from, to, text: `${emoji(each)} `, label: `:${each}:`, icon: el("span", { class: "emoji" }, emoji(each)) }));
    }
    return [];
  }

  #offer(offers) {
    this.#offers = offers;
    this.#chosen = 0;
    this.offers.hidden = offers.length === 0;
    this.input.setAttribute("aria-expanded", String(offers.length > 0));
    fill(this.offers, offers.map((offer, n) => el("div", {
      class: "offer", role: "option", id: `${this.listId}-${n}`, onmousedown: (event) => event.preventDefault(), onclick: () => this.#take(n),
    }, offer.icon, el("span", { class: "offer-name" }, offer.label), el("span", { class: "offer-note" }, offer.note))));
    this.#point();
  }

  #point() {
    [...this.offers.children].forEach((node, n) => node.setAttribute("aria-selected", String(n === this.#chosen)));
    if (this.#offers.length) this.input.setAttribute("aria-activedescendant", `${this.listId}-${this.#chosen}`);
    else this.input.removeAttribute("aria-activedescendant");
  }

  #take(n) {
    const { from, to, text } = this.#offers[n];
    this.#replace(from, to, text);
    this.#offer([]);
  }

  #key_(event) {
    if (event.isComposing) return;
    const count = this.#offers.length;
    if (count && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
      event.preventDefault();
      this.#chosen = (this.#chosen + (event.key === "ArrowDown" ? 1 : count - 1)) % count;
      this.#point();
    } else if (count && event.key === "Escape") {
      event.preventDefault();
      event.stopPropagation();
      this.#offer([]);
    } else if (count && (event.key === "Tab" || (event.key === "Enter" && !event.shiftKey))) {
      const offer = this.#offers[this.#chosen];
      const same = this.input.value.slice(offer.from, offer.to).toLowerCase() === offer.text.trim().toLowerCase();
      event.preventDefault();
      if (event.key === "Enter" && same) this.send();
      else this.#take(this.#chosen);
    } else if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      this.send();
    }
  }
}
