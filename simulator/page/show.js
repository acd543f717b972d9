// The page for pictures: draws exactly what its address names, and nothing around it.
//   ?channel=…&ts=…[&thread=1]   a message (also one that only `as` can see), or its whole thread
//   ?view=…                      an open modal or a published Home, by its id
//   ?home=<user>                 a person's Home
// with &as=<user> (who looks), &theme=dark|light, &width=<pixels>. `data-ready` on the root says that all is drawn.
import { Api } from "./api.js";
import { drawBlocks } from "./blocks.js";
import { el, fill } from "./dom.js";
import { Form } from "./form.js";
import { drawList } from "./messages.js";
import { drawView } from "./modal.js";
import { Store } from "./store.js";

const NOBODY = "U0MAYA";
const query = new URLSearchParams(location.search);
const root = document.getElementById("shown");
const still = { send: async () => false };

async function messages(store, channel, ts, whole) {
  const { messages: wanted, error } = await store.api.get("history", { channel, [whole ? "thread_ts" : "ts"]: ts });
  if (!wanted?.length) throw new Error(error ?? "message_not_found");
  const list = el("div", { class: "list" });
  root.append(el("div", { class: "scroller" }, list));
  drawList(list, wanted, store, { days: false, inThread: true });
  for (const tools of root.querySelectorAll(".tools")) tools.remove();
}

function modal(store, view) {
  root.classList.add("modal");
  const { node } = drawView(view, { store, surface: "modal", form: new Form(), ...still }, {});
  root.append(el("div", { class: "dialog modal", role: "dialog", "aria-labelledby": `title-${view.id}` }, node));
  root.querySelector(".dialog").style.display = "flex";
}

function home(store, view) {
  root.classList.add("home");
  root.append(el("div", { class: "home-body", "data-view-id": view.id },
    drawBlocks(view.blocks, { store, surface: "home", form: new Form(), ...still })));
}

async function draw(store) {
  if (query.has("channel")) {
    await messages(store, query.get("channel"), query.get("ts"), query.has("thread"));
    return;
  }
  const { view, error } = await store.api.get("view", query.has("home") ? { home: query.get("home") } : { id: query.get("view") ?? "" });
  if (!view) throw new Error(error ?? "not_found");
  if (view.type === "home") home(store, view);
  else modal(store, view);
}

async function start() {
  const dark = query.get("theme") ? query.get("theme") === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  const width = Number(query.get("width"));
  if (width >= 200 && width <= 2000) root.style.setProperty("--width", `${width}px`);
  const store = new Store();
  store.api = new Api(query.get("as") ?? query.get("home") ?? NOBODY);
  await store.load();
  let state = "true";
  try {
    if (!store.me) throw new Error(store.failure);
    await draw(store);
  } catch (error) {
    state = "error";
    fill(root, el("p", { class: "problem-words", role: "alert" }, `This cannot be shown: ${error.message}.`));
  }
  root.inert = true;
  await document.fonts.ready;
  await Promise.all([...document.images].map((image) => image.complete || new Promise((done) => {
    image.addEventListener("load", done);
    image.addEventListener("error", done);
  })));
  document.documentElement.dataset.ready = state;
}

start();
