// The rail, the sidebar and the bar at the top: where one goes, and as whom.
import { changed, el, fill } from "./dom.js";
import { icon } from "./icons.js";
import { openMenu } from "./menu.js";
import { avatar } from "./messages.js";

const LINK_WORDS = { socket: "Socket Mode", http: "signed HTTP", down: "no app connected" };
const BADGES = { requester: "Requester", approver: "Approver", guest: "Guest", external: "External" };

/** Draw the banner: that this is no real Slack, how fast the clock runs, who is connected. */
export function drawBanner(root, store) {
  const state = store.connected ? store.link : "lost";
  fill(root, el("span", {}, "Simulated workspace, nothing leaves this machine"),
    store.clockRate !== 1 && el("span", { class: "banner-clock" }, icon("clock", 14), `Business clock ×${store.clockRate}`),
    el("span", { class: `banner-link ${state}`, "data-link": state }, el("span", { class: "dot" }), state === "lost" ? "Connecting to the simulator…" : LINK_WORDS[state] ?? state));
}

function entry(store, channel) {
  const unread = channel.unread > 0 && channel.id !== store.channelId;
  const here = channel.id === store.channelId;
  const peer = channel.is_im ? store.person(channel.user) ?? { role: "bot" } : null;
  const mentions = unread ? channel.mentions ?? 0 : 0;
  const title = store.titleOf(channel);
  const words = [title, channel.is_private && "private", unread && "unread", mentions && `${mentions} mentions`].filter(Boolean).join(", ");
  return el("li", {}, el("a", {
    class: ["entry", here && "here", unread && "unread"].filter(Boolean).join(" "),
    href: `#${new URLSearchParams({ as: store.me.id, channel: channel.id })}`,
    "data-channel": channel.id, "aria-current": here ? "page" : null, "aria-label": words,
    onclick: (event) => {
      // The address above names whom this was drawn for; somebody else may have been chosen since.
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      store.go({ channel: channel.id });
    },
  }, peer ? avatar(peer, store, 20) : icon(channel.is_private ? "lock" : "hash", 16),
  el("span", { class: "entry-name" }, title), mentions > 0 && el("span", { class: "badge" }, mentions)));
}

function group(store, title, channels) {
  if (!channels.length) return null;
  return el("details", { class: "group", open: true }, el("summary", {}, icon("chevron", 14), title), el("ul", {}, channels.map((channel) => entry(store, channel))));
}

/** Draw the sidebar: channels, direct messages, apps. */
export function drawSidebar(root, store) {
  if (!changed(root, store.me.id, store.team, store.channels, store.people, store.channelId)) return;
  const focused = root.contains(document.activeElement) ? document.activeElement.dataset.channel : null;
  const closed = new Set([...root.querySelectorAll("details:not([open]) > summary")].map((node) => node.textContent));
  const isApp = (channel) => channel.is_im && channel.user === store.app.user_id;
  fill(root, el("div", { class: "team" }, el("strong", {}, store.team.name)),
    el("div", { class: "groups" },
      group(store, "Channels", store.channels.filter((channel) => !channel.is_im)),
      group(store, "Direct messages", store.channels.filter((channel) => channel.is_im && !isApp(channel))),
      group(store, "Apps", store.channels.filter(isApp))));
  for (const node of root.querySelectorAll("details")) node.open = !closed.has(node.firstElementChild.textContent);
  if (focused) root.querySelector(`[data-channel="${CSS.escape(focused)}"]`)?.focus();
}

/** Draw the rail: the workspace tile, home, the app, light and dark, the acting person. */
export function drawRail(root, store, theme) {
  const initials = store.team.name.split(/\s+/).map((word) => word[0]).join("").slice(0, 2).toUpperCase();
  const inApp = store.channelId && store.channelId === store.appChannel?.id;
  const first = store.channels.find((channel) => !channel.is_im);
  const badge = store.appChannel?.unread > 0 && !inApp;
  if (!changed(root, store.me, store.team, inApp, badge, theme.dark)) return;
  const stop = (name, label, active, act, attributes = {}) => el("button", { type: "button", class: active ? "stop active" : "stop", "aria-current": active ? "true" : null, onclick: act, ...attributes },
    el("span", { class: "stop-icon" }, icon(name)), el("span", { class: "stop-name" }, label));
  const app = stop("chats", "Agent", inApp, () => store.appChannel && store.go({ channel: store.appChannel.id }));
  if (badge) app.firstElementChild.append(el("span", { class: "pip" }));
  fill(root, el("span", { class: "tile", role: "img", "aria-label": store.team.name }, initials),
    stop("home", "Home", !inApp, () => first && store.go({ channel: first.id })), app, el("span", { class: "grow" }),
    stop(theme.dark ? "sun" : "moon", theme.dark ? "Light" : "Dark", false, () => theme.toggle(), { "aria-label": `Switch to ${theme.dark ? "light" : "dark"} colours`, "data-theme-toggle": true }),
    store.me && el("span", { class: "rail-me" }, avatar(store.me, store, 36), el("span", { class: "presence" })));
}

function personRow(store, person) {
  const badge = store.badge(person);
  return [avatar(person, store, 36), el("span", { class: "who" }, el("strong", {}, store.nameOf(person)), el("span", {}, person.title)),
    el("span", { class: `role ${badge}` }, BADGES[badge])];
}

function people(anchor, store) {
  openMenu(anchor, store.members().map((person) => ({
    node: personRow(store, person), checked: person.id === store.me.id, attributes: { "data-person": person.id },
    pick: () => store.go({ as: person.id, thread: store.threadTs }),
  })), { align: "right", label: "Act as" });
}

/** Ask for a place by name (Ctrl+K). */
export function quickSwitch(anchor, store) {
  openMenu(anchor, store.channels.map((channel) => ({
    label: `${channel.is_im ? "" : "# "}${store.titleOf(channel)}`, note: channel.purpose, attributes: { "data-go": channel.id },
    pick: () => store.go({ channel: channel.id }),
  })), { label: "Go to" });
}

/** Draw the bar at the top: the way to other conversations, and the person switcher. */
export function drawTopbar(root, store) {
  if (!store.me) return;
  if (root.querySelector("[aria-expanded='true']") || !changed(root, store.me, store.team.name)) return;
  const badge = store.badge(store.me);
  const focused = root.contains(document.activeElement) ? document.activeElement.id : null;
  fill(root,
    el("span", { class: "topbar-side" }),
    el("button", { type: "button", class: "search", id: "search", "aria-haspopup": "menu", title: "Go to a conversation (Ctrl+K)", onclick: (event) => quickSwitch(event.currentTarget, store) },
      icon("search", 16), `Search ${store.team.name}`),
    el("span", { class: "topbar-side end" },
      el("button", { type: "button", class: "switcher", id: "switcher", "data-switcher": true, "aria-haspopup": "menu", "aria-label": `Acting as ${store.nameOf(store.me)}, ${BADGES[badge]}. Switch person`, onclick: (event) => people(event.currentTarget, store) },
        avatar(store.me, store, 24), el("span", { class: "switcher-name" }, store.nameOf(store.me)), el("span", { class: `role ${badge}` }, BADGES[badge]), icon("chevron", 16))));
  if (focused) root.querySelector(`#${focused}`)?.focus();
}
