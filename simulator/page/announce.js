// One live region for the whole page: screen readers are told of messages that others write.

import { decode } from "./mrkdwn.js";

const LONGEST = 240;

/** A message's text as it is read aloud: names for mentions, labels for links, no marks of escaping. */
function spoken(text, store) {
  return decode(String(text ?? "")
    .replace(/<@(\w+)[^>]*>/g, (_whole, id) => `@${store.nameOf(store.person(id) ?? { id, name: id })}`)
    .replace(/<[^>|]*\|([^>]*)>/g, "$1")
    .replace(/<[!#]?([^>]*)>/g, "$1")).replace(/\s+/g, " ").trim();
}

/** Tells of new messages in the open channel and thread, streamed ones when they are whole. */
export class Announcer {
  #told = new Set();

  constructor(root, store) {
    this.root = root;
    this.store = store;
    store.addEventListener("messages", ({ detail }) => this.#arrived(detail?.arrived));
    store.addEventListener("thread", ({ detail }) => this.#arrived(detail?.arrived));
    store.addEventListener("changed", ({ detail }) => this.#changed(detail));
  }

  #arrived(message) {
    if (!message || message.user === this.store.me?.id || message.streaming_state === "in_progress") return;
    this.#tell(message);
  }

  #changed({ message, before }) {
    if (before?.streaming_state === "in_progress" && message.streaming_state !== "in_progress") this.#tell(message);
  }

  #tell(message) {
    const key = `${message.channel}:${message.ts}`;
    if (this.#told.has(key)) return;
    this.#told.add(key);
    const who = this.store.nameOf(this.store.person(message.user) ?? { id: message.user, name: this.store.app.name });
    const plain = spoken(message.text, this.store);
    const words = plain.length > LONGEST ? `${plain.slice(0, LONGEST)}…` : plain;
    this.root.textContent = `${who}${message.ephemeral ? ", only visible to you" : ""}: ${words || "a message"}`;
  }
}
