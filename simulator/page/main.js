// The page's start: theme, address bar, and who draws what when.
import { Announcer } from "./announce.js";
import { ChannelPane, ThreadPane } from "./conversation.js";
import { toast } from "./dialog.js";
import { Modals } from "./modal.js";
import { drawBanner, drawRail, drawSidebar, drawTopbar, quickSwitch } from "./sidebar.js";
import { Store } from "./store.js";

const DEFAULT_PERSON = "U0MAYA";
const part = (id) => document.getElementById(id);

/** Light or dark: as the system says until a person chooses, then as they chose. */
class Theme {
  #system = matchMedia("(prefers-color-scheme: dark)");

  constructor(changed) {
    this.changed = changed;
    const asked = new URLSearchParams(location.search).get("theme");
    this.chosen = ["dark", "light"].includes(asked) ? asked : localStorage.getItem("simulator-theme");
    this.#system.addEventListener("change", () => this.#apply());
    this.#apply();
  }

  get dark() {
    return this.chosen ? this.chosen === "dark" : this.#system.matches;
  }

  toggle() {
    this.chosen = this.dark ? "light" : "dark";
    localStorage.setItem("simulator-theme", this.chosen);
    this.#apply();
  }

  #apply() {
    document.documentElement.dataset.theme = this.dark ? "dark" : "light";
    this.changed();
  }
}

/** Follow the address bar: become the person, open the channel and the thread that it names. */
async function follow(store) {
  const hash = new URLSearchParams(location.hash.slice(1));
  const as = hash.get("as") ?? store.me?.id ?? DEFAULT_PERSON;
  if (as !== store.api.as) store.become(as);
  await store.becoming;
  if (as !== store.api.as) return;
  if (store.failure === "user_not_found") {
    toast(`Nobody here has the id ${as}.`, "error");
    if (as !== DEFAULT_PERSON) location.hash = new URLSearchParams({ as: DEFAULT_PERSON }).toString();
    return;
  }
  if (!store.me) {
    toast("The simulator cannot be reached; this page goes on trying.", "error");
    return;
  }
  const now = new URLSearchParams(location.hash.slice(1));
  const wanted = now.get("channel");
  const usual = wanted?.startsWith("D") ? store.appChannel?.id : undefined;
  const channel = store.channel(wanted)?.id ?? usual ?? (store.channels.find((each) => !each.is_im) ?? store.channels[0])?.id;
  const thread = channel === wanted ? now.get("thread") : null;
  if (channel !== wanted || now.get("as") !== as) {
    const hashNow = new URLSearchParams({ as, ...(channel && { channel }), ...(thread && { thread }) });
    history.replaceState(null, "", `#${hashNow}`);
  }
  await store.open(channel ?? null, thread, channel === wanted ? now.get("tab") : null);
}

function start() {
  const store = new Store();
  let queued = false;
  const theme = new Theme(() => draw());
  new Modals(store);
  new Announcer(part("announcer"), store);
  new ChannelPane(part("main"), store);
  new ThreadPane(part("thread"), store);

  function now() {
    drawBanner(part("banner"), store);
    drawRail(part("rail"), store, theme);
    drawTopbar(part("topbar"), store);
    drawSidebar(part("sidebar"), store);
    const unread = store.channels.some((channel) => channel.mentions > 0) ? "! " : "";
    document.title = `${unread}${store.titleOf(store.here) || "Workspace"} - ${store.team.name} (simulated)`;
  }
  function draw() {
    if (queued) return;
    queued = true;
    queueMicrotask(() => {
      queued = false;
      if (store.me) now();
    });
  }

  store.addEventListener("state", draw);
  store.addEventListener("place", draw);
  store.addEventListener("push", ({ detail }) => {
    if (detail.type === "toast") toast(detail.text, detail.level);
  });
  store.addEventListener("ready", () => follow(store));
  window.addEventListener("hashchange", () => follow(store));
  document.addEventListener("visibilitychange", () => store.me && store.read());
  part("skip").addEventListener("click", (event) => {
    event.preventDefault();
    part("main").focus();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "F6" || document.querySelector("dialog[open]")) return;
    event.preventDefault();
    const panes = ["sidebar", "main", "thread"].map(part).filter((pane) => !pane.hidden && pane.getClientRects().length > 0);
    const here = panes.findIndex((pane) => pane.contains(document.activeElement));
    const next = panes[(here + (event.shiftKey ? panes.length - 1 : 1) + panes.length) % panes.length];
    const inside = [...next.querySelectorAll("[aria-current='page'], [data-composer], .home-tab")];
    (inside.find((node) => node.getClientRects().length > 0) ?? next).focus();
  });
  document.addEventListener("keydown", (event) => {
    if (!(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== "k" || document.querySelector("dialog[open]")) return;
    event.preventDefault();
    quickSwitch(part("search"), store);
  });
  follow(store);
}

start();
