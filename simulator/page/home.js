// The app's Home tab: the view that the app published for the acting person.
import { drawBlocks } from "./blocks.js";
import { toast } from "./dialog.js";
import { el, fill } from "./dom.js";
import { Form } from "./form.js";
import { actionError } from "./messages.js";

/** Shows App Home in the DM with the app, while the address bar says `tab=home`. */
export class HomeTab {
  constructor(store) {
    this.store = store;
    this.node = el("div", { class: "home-tab", role: "region", "aria-label": "Home", tabindex: 0, hidden: true });
    this.bar = el("div", { class: "tabs", role: "group", "aria-label": "Views of the app", hidden: true });
    store.addEventListener("place", () => this.#place());
    store.addEventListener("state", () => this.#place(false));
    store.addEventListener("push", ({ detail }) => {
      const mine = detail.type === "home_published" || (detail.type === "view_updated" && detail.view?.type === "home");
      if (mine && this.open) this.#draw(detail.view);
    });
  }

  /** True while Home is what is looked at. */
  get open() {
    return this.store.tab === "home" && Boolean(this.store.here) && this.store.channelId === this.store.appChannel?.id;
  }

  async #place(moved = true) {
    const { store } = this;
    this.bar.hidden = !store.here || store.channelId !== store.appChannel?.id;
    this.node.hidden = !this.open;
    const tab = (name, label) => el("button", {
      type: "button", class: "tab", "data-tab": name, "aria-pressed": String((name === "home") === this.open),
      onclick: () => store.go({ tab: name === "home" ? "home" : null }),
    }, label);
    const focused = this.bar.contains(document.activeElement) ? document.activeElement.dataset.tab : null;
    fill(this.bar, tab("messages", "Messages"), tab("home", "Home"));
    if (focused) this.bar.querySelector(`[data-tab="${focused}"]`).focus();
    if (!this.open || !moved) return;
    const { api } = store;
    const { view } = await api.get("home");
    if (this.open && api === store.api) this.#draw(view);
    api.post("home", { tab: "home" });
  }

  #draw(view) {
    if (!view) {
      fill(this.node, el("div", { class: "intro-plain" }, el("p", {}, `${this.store.app.name} has put nothing here yet.`)));
      return;
    }
    const form = new Form();
    const typed = this.viewId === view.id ? this.form.values() : {};
    const focused = this.node.contains(document.activeElement) ? document.activeElement.dataset : {};
    this.form = form;
    this.viewId = view.id;
    const send = async (element, block, state) => {
      const answer = await this.store.api.post("action", {
        view_id: view.id, block_id: block.block_id, action_id: element.action_id, type: element.type, ...state, values: form.values(),
      });
      if (answer.ok === false) toast(actionError(answer.error), "error");
      return answer.ok !== false;
    };
    const blocks = drawBlocks(view.blocks, { store: this.store, surface: "home", form, send });
    form.restore(typed);
    fill(this.node, el("div", { class: "home-body", "data-view-id": view.id }, blocks));
    if (!focused.actionId) return;
    const same = `[data-action-id="${CSS.escape(focused.actionId)}"][data-block-id="${CSS.escape(focused.blockId ?? "")}"]`;
    this.node.querySelector(same)?.focus();
  }
}
