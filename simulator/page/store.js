// What the page knows: the acting person, the workspace, the open channel and thread. It tells its listeners of changes.
import { Api } from "./api.js";

const CONTENT = new Set(["message", "ephemeral", "message_changed", "message_deleted", "status"]);
const byTs = (a, b) => Number(a.ts) - Number(b.ts) || (a.ts < b.ts ? -1 : 1);

/** The page's one state. Events: `state`, `messages`, `thread`, `place`, `person`, `push` (detail: the push). */
export class Store extends EventTarget {
  team = { name: "" };
  me = null;
  people = [];
  channels = [];
  commands = [];
  shortcuts = [];
  functions = [];
  app = { name: "", suggested_prompts: [] };
  link = "down";
  clockRate = 1;
  connected = false;
  channelId = null;
  threadTs = null;
  tab = null;
  newMark = null;
  messages = new Map();
  replies = new Map();
  statuses = new Map();
  dismissed = new Set();
  api = new Api("");
  /** The control that was used last; focus goes back to it when a modal that it opened is gone. */
  lastControl = null;
  /** Why the workspace could not be loaded, as an error code. */
  failure = null;
  /** Settled once the acting person's workspace is loaded. */
  becoming = Promise.resolve();
  /** For each history that is on its way: what was pushed meanwhile, to be applied over it. */
  #loading = new Set();
  #reloading = false;
  #stale = false;

  tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  person(id) {
    return this.people.find((person) => person.id === id) ?? null;
  }

  channel(id) {
    return this.channels.find((channel) => channel.id === id) ?? null;
  }

  /** The open channel. */
  get here() {
    return this.channel(this.channelId);
  }

  /** The DM between the acting person and the app, if it exists. */
  get appChannel() {
    return this.channels.find((channel) => channel.is_im && channel.user === this.app.user_id) ?? null;
  }

  /** People, without bots. */
  members() {
    return this.people.filter((person) => person.role !== "bot" && !person.deleted);
  }

  nameOf(person) {
    if (!person) return "Unknown";
    return person.id === this.app.user_id ? this.app.name : person.real_name || person.name;
  }

  titleOf(channel) {
    if (!channel) return "";
    return channel.is_im ? this.nameOf(this.person(channel.user) ?? { id: channel.user, name: channel.name }) : channel.name;
  }

  /** What a person may do here, in a word: requester, approver, guest or external. */
  badge(person) {
    if (person.role === "guest" || person.role === "external") return person.role;
    return person.role === "admin" || /security|approver/i.test(person.title ?? "") ? "approver" : "requester";
  }

  /** Ask for another place; the address bar is the one truth, so this only changes the hash. */
  go({ as = new URLSearchParams(location.hash.slice(1)).get("as") ?? this.me?.id, channel = this.channelId, thread = null, tab = null }) {
    const hash = new URLSearchParams(Object.entries({ as, channel, thread, tab }).filter(([, value]) => value));
    if (location.hash === `#${hash}`) return;
    location.hash = hash.toString();
  }

  /** Become a person: load what they see and listen as them. */
  become(id) {
    this.becoming = this.#become(id);
    return this.becoming;
  }

  async #become(id) {
    this.api.stop();
    const api = new Api(id);
    this.api = api;
    this.me = null;
    this.channelId = null;
    this.threadTs = null;
    this.messages = new Map();
    this.replies = new Map();
    this.statuses = new Map();
    this.tell("person");
    await this.load();
    if (api !== this.api) return;
    if (!this.appChannel && this.app.user_id) {
      const opened = await api.post("open_im");
      if (opened.channel && api === this.api) await this.load();
    }
    if (api !== this.api || this.failure === "user_not_found") return;
    api.listen((push) => this.take(push), (open) => {
      this.connected = open;
      this.tell("state");
      if (open) this.#resume(api);
    });
  }

  /** Catch up with what happened before the socket was open. */
  async #resume(api) {
    const late = !this.me;
    await this.load();
    if (api !== this.api) return;
    if (late && this.me) this.tell("ready");
    else this.refresh();
  }

  async load() {
    const api = this.api;
    const state = await api.get("state");
    if (api !== this.api) return;
    this.failure = state.me ? null : state.error ?? "no_answer";
    if (!state.me) return;
    Object.assign(this, {
      team: state.team, me: state.me, people: state.people ?? [], channels: state.channels ?? [],
      commands: state.commands ?? [], shortcuts: state.shortcuts ?? [], functions: state.functions ?? [], app: { suggested_prompts: [], ...state.app }, link: state.link ?? "down",
      clockRate: state.clock_rate ?? 1,
    });
    if (this.here && !document.hidden) this.here.unread = this.here.mentions = 0;
    this.tell("state");
  }

  /** Open a channel and, if given, a thread in it. */
  async open(channelId, threadTs, tab = null) {
    this.tab = tab;
    const moved = channelId !== this.channelId;
    const viewing = this.here?.is_im ? null : this.channelId;
    this.channelId = channelId;
    if (moved) {
      this.messages = new Map();
      this.newMark = null;
    }
    if (this.threadTs !== threadTs || moved) this.replies = new Map();
    this.threadTs = threadTs;
    const unread = moved ? { count: this.here?.unread ?? 0, since: this.here?.last_read } : { count: 0 };
    this.tell("place", { moved });
    await this.refresh(unread);
    if (moved && this.channelId === channelId && this.appChannel?.id === channelId) this.api.post("home", { tab: "messages", viewing });
  }

  async refresh(unread = { count: 0 }) {
    const { api, channelId, threadTs } = this;
    if (!channelId) return;
    const meanwhile = [];
    this.#loading.add(meanwhile);
    const history = (query) => api.get("history", { channel: channelId, ...query });
    const [roots, thread] = await Promise.all([history({}), threadTs ? history({ thread_ts: threadTs }) : null]);
    this.#loading.delete(meanwhile);
    if (api !== this.api || channelId !== this.channelId) return;
    if (roots.messages) {
      this.messages = new Map(roots.messages.map((message) => [message.ts, message]));
      for (const key of [...this.statuses.keys()]) if (key.startsWith(`${channelId}:`)) this.statuses.delete(key);
      const foreign = this.sorted(this.messages).filter((message) => message.user !== this.me.id);
      for (const [ts, line] of Object.entries(roots.lines ?? {})) this.#keep(channelId, ts, line);
      if (unread.count > 0) {
        this.newMark = unread.since === undefined ? foreign.at(-Math.min(unread.count, foreign.length))?.ts ?? null
          : foreign.find((message) => message.ts > unread.since)?.ts ?? null;
      }
    } else if (roots.error !== "no_connection") {
      const text = `This conversation could not be loaded (${roots.error}).`;
      this.tell("push", { type: "toast", level: "error", text });
    }
    if (thread?.messages && threadTs === this.threadTs) this.replies = new Map(thread.messages.map((message) => [message.ts, message]));
    for (const push of meanwhile) this.take(push);
    this.tell("messages", { loaded: true });
    this.tell("thread");
    this.read();
  }

  read() {
    const here = this.here;
    if (!here || document.hidden) return;
    here.unread = 0;
    here.mentions = 0;
    this.api.post("read", { channel: here.id });
    this.tell("state");
  }

  sorted(map) {
    return [...map.values()].filter((message) => !this.dismissed.has(message.ts)).sort(byTs);
  }

  /** Hide an ephemeral message, for this page only. */
  dismiss(ts) {
    this.dismissed.add(ts);
    this.tell("messages", {});
    this.tell("thread");
  }

  /** A thread's line: `words` (null when there is nothing to say), `loading` messages, the agent `session`. */
  status(channel, threadTs) {
    return this.statuses.get(`${channel}:${threadTs}`) ?? null;
  }

  take(push) {
    if (CONTENT.has(push.type)) for (const pushes of this.#loading) pushes.push(push);
    const handlers = {
      message: () => this.#arrive(push.message),
      ephemeral: () => this.#arrive({ ...push.message, ephemeral: true }),
      message_changed: () => this.#change(push.message),
      message_deleted: () => this.#remove(push.channel, push.ts),
      status: () => this.#status(push),
      channels: () => this.#reload(),
      link: () => {
        this.link = push.link;
        this.tell("state");
      },
    };
    if (Object.hasOwn(handlers, push.type)) handlers[push.type]();
    else this.tell("push", push);
  }

  #keep(channel, threadTs, { status, loading_messages: loading = [], session = null }) {
    this.statuses.set(`${channel}:${threadTs}`, { words: status ? `${this.app.name} ${status}` : null, loading, session });
  }

  #status(push) {
    this.#keep(push.channel, push.thread_ts, push);
    this.tell("messages", {});
    this.tell("thread");
  }

  #arrive(message) {
    const isReply = message.thread_ts && message.thread_ts !== message.ts;
    if (message.channel !== this.channelId || document.hidden) this.#unread(message, isReply);
    if (message.channel !== this.channelId) return;
    const root = isReply ? this.messages.get(message.thread_ts) : null;
    if (root && !message.ephemeral && Number(message.ts) > Number(root.latest_reply ?? 0)) {
      const users = new Set([...(root.reply_users ?? []), message.user ?? this.app.user_id]);
      this.messages.set(root.ts, { ...root, reply_count: (root.reply_count ?? 0) + 1, reply_users: [...users], latest_reply: message.ts });
    }
    if (!isReply || message.subtype === "thread_broadcast") this.messages.set(message.ts, message);
    if (this.threadTs === (message.thread_ts ?? message.ts)) this.replies.set(message.ts, message);
    this.tell("messages", { arrived: isReply ? null : message });
    this.tell("thread", { arrived: message });
    if (!document.hidden) this.read();
  }

  #unread(message, isReply) {
    if (message.user === this.me.id || message.ephemeral) return;
    if (message.channel === this.channelId && !isReply) this.newMark ??= message.ts;
    this.#reload();
  }

  async #reload() {
    this.#stale = true;
    if (this.#reloading) return;
    this.#reloading = true;
    while (this.#stale) {
      this.#stale = false;
      await this.load();
    }
    this.#reloading = false;
  }

  #change(message) {
    if (message.channel !== this.channelId) return;
    this.tell("changed", { message, before: this.replies.get(message.ts) ?? this.messages.get(message.ts) });
    for (const map of [this.messages, this.replies]) {
      const old = map.get(message.ts);
      if (old) map.set(message.ts, { reply_count: old.reply_count, reply_users: old.reply_users, latest_reply: old.latest_reply, ...message });
    }
    this.tell("messages", {});
    this.tell("thread");
  }

  #remove(channel, ts) {
    if (channel !== this.channelId) return;
    this.messages.delete(ts);
    this.replies.delete(ts);
    this.tell("messages", {});
    this.tell("thread");
  }
}
