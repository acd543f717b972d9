// The two panes of conversation: the channel in the middle and the thread at the right.
import { Composer } from "./composer.js";
import { toast } from "./dialog.js";
import { changed, el, fill } from "./dom.js";
import { HomeTab } from "./home.js";
import { icon } from "./icons.js";
import { avatar, drawList } from "./messages.js";

/** One message at a time is in the tab order; the arrow keys move to the others, and its tools follow it. */
function roving(list) {
  list.addEventListener("focusin", (event) => {
    const message = event.target.closest(".message");
    for (const other of list.querySelectorAll(".message[tabindex='0']")) if (other !== message) other.tabIndex = -1;
    if (message) message.tabIndex = 0;
    for (const button of list.querySelectorAll(".tools button")) button.tabIndex = message?.contains(button) ? 0 : -1;
  });
  list.addEventListener("keydown", (event) => {
    if (!event.target.matches(".message")) return;
    const all = [...list.querySelectorAll(".message")];
    const n = all.indexOf(event.target);
    const to = { ArrowDown: n + 1, ArrowUp: n - 1, Home: 0, End: all.length - 1 }[event.key];
    if (to === undefined || !all[to]) return;
    event.preventDefault();
    all[to].focus();
  });
}

function scroller(label) {
  const list = el("div", { class: "list", role: "log", "aria-live": "off", "aria-label": label });
  roving(list);
  return { list, node: el("div", { class: "scroller", tabindex: 0, role: "region", "aria-label": label }, list) };
}

/** The open channel: its head, messages and composer. */
export class ChannelPane {
  constructor(root, store) {
    this.store = store;
    this.loaded = false;
    this.introKey = "";
    this.head = el("header", { class: "pane-head" });
    this.parts = scroller("Messages");
    this.intro = el("div", { class: "intro" });
    this.parts.node.prepend(this.intro);
    this.archived = el("p", { class: "archived", hidden: true }, "This channel is archived: it can be read, not written to.");
    this.composer = new Composer(store, {
      label: "Message",
      place: () => ({ channel: store.channelId }),
      hint: () => (store.here ? `Message ${store.here.is_im ? "" : "#"}${store.titleOf(store.here)}` : "Message"),
    });
    this.home = new HomeTab(store);
    this.foot = el("footer", { class: "pane-foot" }, this.archived, this.composer.node);
    fill(root, this.head, this.home.bar, this.home.node, this.parts.node, this.foot);
    store.addEventListener("person", () => this.parts.list.replaceChildren());
    store.addEventListener("state", () => {
      this.#head();
      if (this.loaded) this.#intro(store.sorted(store.messages));
    });
    store.addEventListener("place", ({ detail }) => {
      if (detail.moved) {
        this.loaded = false;
        this.introKey = "";
        fill(this.intro);
        this.parts.list.replaceChildren();
      }
      this.#head();
      this.composer.refresh();
      this.parts.node.hidden = this.home.open;
      this.foot.hidden = this.home.open;
      if (detail.moved && !store.threadTs) this.composer.focus();
    });
    store.addEventListener("messages", ({ detail }) => this.#messages(detail));
  }

  #head() {
    const { store } = this;
    const channel = store.here;
    this.composer.node.hidden = !channel || channel.is_archived;
    this.archived.hidden = !channel?.is_archived;
    this.composer.refresh();
    if (!channel) {
      fill(this.head, el("h1", {}, store.channelId ? "You cannot see this conversation" : "Nothing is open"));
      return;
    }
    const peer = channel.is_im ? store.person(channel.user) ?? { role: "bot" } : null;
    const members = store.members().length;
    fill(this.head,
      el("h1", {}, peer ? avatar(peer, store, 24) : icon(channel.is_private ? "lock" : "hash", 18), el("span", {}, store.titleOf(channel)),
        peer?.role === "bot" && el("span", { class: "app-tag" }, "APP")),
      el("p", { class: "purpose" }, channel.purpose ?? (peer?.role === "bot" ? "" : peer?.title) ?? ""),
      !peer && el("span", { class: "count", title: `${members} people in this workspace` }, icon("people", 17), channel.members?.length ?? members));
  }

  #messages({ arrived = null, loaded = false }) {
    const { store } = this;
    const messages = store.sorted(store.messages);
    this.loaded ||= loaded;
    this.#intro(messages);
    drawList(this.parts.list, messages, store, { mark: store.newMark, toEnd: loaded || arrived?.user === store.me?.id });
  }

  #intro(messages) {
    const { store } = this;
    const channel = store.here;
    const key = JSON.stringify([channel?.id, channel?.name, channel?.purpose, messages.length === 0, store.app]);
    if (key === this.introKey) return undefined;
    this.introKey = key;
    if (!channel) return fill(this.intro);
    if (channel.id !== store.appChannel?.id) {
      const title = channel.is_im ? store.titleOf(channel) : channel.name;
      return fill(this.intro, el("div", { class: "intro-plain" },
        el("h2", {}, !channel.is_im && icon(channel.is_private ? "lock" : "hash", 26), title),
        el("p", {}, channel.is_im ? "This is the beginning of your conversation." : `This is the very beginning of #${channel.name}. ${channel.purpose ?? ""}`)));
    }
    const prompts = store.app.suggested_prompts ?? [];
    return fill(this.intro, el("div", { class: "intro-app" },
      avatar({ role: "bot" }, store, 72),
      el("h2", {}, store.app.name, el("span", { class: "app-tag" }, "APP")),
      el("p", {}, store.app.description || "Give me work. I do the safe parts, and people decide about the rest."),
      messages.length === 0 && prompts.length > 0 && [store.app.prompts_title && el("p", { class: "prompts-title" }, store.app.prompts_title), el("div", { class: "prompts", role: "group", "aria-label": "Suggested prompts" },
        prompts.map((prompt) => el("button", { type: "button", class: "prompt", "data-prompt": prompt.title, onclick: () => this.composer.say(prompt.message) },
          el("strong", {}, prompt.title), el("span", {}, prompt.message))))]));
  }
}

/** The open thread: root, replies, what the app is doing, a composer. */
export class ThreadPane {
  constructor(root, store) {
    this.store = store;
    this.root = root;
    this.opener = null;
    this.place = el("span", { class: "thread-place" });
    this.parts = scroller("Thread");
    this.status = el("div", { class: "status", role: "status", hidden: true });
    this.composer = new Composer(store, {
      label: "Reply", place: () => ({ channel: store.channelId, thread_ts: store.threadTs }), hint: () => "Reply…",
    });
    const close = el("button", { type: "button", class: "icon-button", "aria-label": "Close thread", title: "Close thread", onclick: () => this.close() }, icon("close"));
    fill(root, el("header", { class: "pane-head" }, el("h2", {}, "Thread"), this.place, el("span", { class: "grow" }), close),
      this.parts.node, el("footer", { class: "pane-foot" }, this.status, this.composer.node));
    root.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !event.defaultPrevented) this.close();
    });
    store.addEventListener("person", () => this.parts.list.replaceChildren());
    store.addEventListener("place", () => this.#moved());
    store.addEventListener("thread", ({ detail }) => this.#draw(detail?.arrived));
  }

  close() {
    const ts = this.store.threadTs;
    this.store.go({ thread: null });
    document.querySelector(`#main [data-thread="${CSS.escape(ts ?? "")}"]`)?.focus();
  }

  #moved() {
    const { store, root } = this;
    const wasHidden = root.hidden;
    root.hidden = !store.threadTs;
    document.body.classList.toggle("with-thread", !root.hidden);
    if (root.hidden) {
      this.parts.list.replaceChildren();
      return;
    }
    const changed = this.opener !== store.threadTs;
    if (changed || wasHidden) this.parts.list.replaceChildren();
    this.opener = store.threadTs;
    this.place.textContent = store.here ? `${store.here.is_im ? "" : "# "}${store.titleOf(store.here)}` : "";
    this.composer.refresh();
    if (changed || wasHidden) this.composer.focus();
  }

  #draw(arrived) {
    const { store } = this;
    if (!store.threadTs) return;
    const first = this.parts.list.childElementCount === 0;
    const messages = store.sorted(store.replies);
    const status = store.status(store.channelId, store.threadTs);
    this.#status(status);
    this.place.textContent = [store.here && `${store.here.is_im ? "" : "# "}${store.titleOf(store.here)}`, status?.session?.title].filter(Boolean).join(" · ");
    drawList(this.parts.list, messages, store, {
      days: false, inThread: true, toEnd: first || arrived?.user === store.me?.id,
      drawn: () => this.#divide(Math.max(0, messages.filter((message) => !message.ephemeral).length - 1)),
    });
  }

  #status(status) {
    const { store } = this;
    this.status.hidden = !status?.words;
    if (!changed(this.status, store.threadTs, status)) return;
    clearInterval(this.turning);
    if (this.status.hidden) return;
    const processing = status.session?.status === "processing";
    const loading = el("span", { class: "loading-message", "aria-hidden": "true" }, status.loading[0] ?? "");
    let turn = 0;
    if (status.loading.length > 1) {
      this.turning = setInterval(() => {
        turn += 1;
        loading.textContent = status.loading[turn % status.loading.length];
      }, 2500);
    }
    fill(this.status, el("span", { class: "dots", "aria-hidden": "true" }), el("span", { class: "status-words" }, status.words), loading,
      processing && el("button", {
        type: "button", class: "btn stop-session", "data-stop": store.threadTs, "aria-label": `Stop ${store.app.name}`,
        onclick: (event) => this.#stop(event.currentTarget),
      }, icon("stop", 12), "Stop"));
  }

  async #stop(button) {
    button.disabled = true;
    const answer = await this.store.api.post("stop_session", { channel: this.store.channelId, thread_ts: this.store.threadTs });
    if (answer.ok === false) {
      button.disabled = false;
      toast(`This did not work (${answer.error}).`, "error");
    }
  }

  #divide(count) {
    const root = this.parts.list.firstElementChild;
    if (!root) return;
    if (count) root.dataset.replies = `${count} ${count === 1 ? "reply" : "replies"}`;
    else delete root.dataset.replies;
    root.classList.toggle("thread-root", true);
  }
}
