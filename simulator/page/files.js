// Files: chips under a message, and what is attached to a message that is being written.
import { toast } from "./dialog.js";
import { el, fill } from "./dom.js";
import { icon } from "./icons.js";

const MOST = 10;
const LARGEST = 40 * 1024 * 1024;

/** "14 KB". */
export function size(bytes) {
  if (!Number.isFinite(bytes)) return "";
  if (bytes < 1000) return `${bytes} B`;
  return bytes < 1_000_000 ? `${Math.round(bytes / 1000)} KB` : `${(bytes / 1_000_000).toFixed(1)} MB`;
}

/** One file of a message, to be downloaded by whoever sees it. */
export function fileChip(file, store) {
  const name = file.title || file.name || "File";
  const note = [file.pretty_type ?? file.filetype?.toUpperCase(), size(file.size)].filter(Boolean).join(" · ");
  const words = [icon("file", 26), el("span", { class: "file-words" }, el("span", { class: "file-name" }, name), el("span", { class: "file-note" }, note))];
  if (!file.url_private) return el("div", { class: "file", "data-file": file.id ?? null }, words);
  const href = `/_sim/file/${encodeURIComponent(file.id)}?as=${encodeURIComponent(store.me?.id ?? "")}`;
  return el("a", { class: "file", href, download: file.name, "data-file": file.id, "aria-label": `Download ${name}, ${note}` }, words);
}

function read(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result).replace(/^[^,]*,/, ""));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
}

/** The files that go with the message being written: chosen, dropped or pasted. */
export class Attachments {
  #files = [];

  constructor(changed) {
    this.changed = changed;
    this.node = el("ul", { class: "attached", "aria-label": "Attached files", hidden: true });
    this.input = el("input", { type: "file", multiple: true, hidden: true, "data-attach": true, onchange: () => {
      this.add(this.input.files);
      this.input.value = "";
    } });
  }

  get count() {
    return this.#files.length;
  }

  /** Take files up; too many or too large ones are told. */
  add(files) {
    for (const file of files) {
      if (file.size > LARGEST) toast(`${file.name} is larger than ${size(LARGEST)}.`, "error");
      else if (this.#files.length >= MOST) toast(`At most ${MOST} files go with one message.`, "error");
      else this.#files.push(file);
    }
    this.#draw();
  }

  /** Hand over everything and be empty. */
  take() {
    const taken = this.#files;
    this.#files = [];
    this.#draw();
    return taken;
  }

  /** The files as the control API takes them. */
  static async encode(files) {
    return Promise.all(files.map(async (file) => ({ name: file.name, mimetype: file.type || undefined, data: await read(file) })));
  }

  #draw() {
    this.node.hidden = this.#files.length === 0;
    fill(this.node, this.#files.map((file) => el("li", { class: "file pending" }, icon("file", 20),
      el("span", { class: "file-words" }, el("span", { class: "file-name" }, file.name), el("span", { class: "file-note" }, size(file.size))),
      el("button", { type: "button", class: "icon-button small", "aria-label": `Remove ${file.name}`, onclick: () => {
        this.#files = this.#files.filter((each) => each !== file);
        this.#draw();
      } }, icon("close", 14)))));
    this.changed();
  }
}
