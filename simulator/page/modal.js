// Modals: a stack of views in one dialog; what was typed survives updates and views pushed on top.
import { drawBlocks } from "./blocks.js";
import { toast, trap } from "./dialog.js";
import { el, fill } from "./dom.js";
import { Form } from "./form.js";
import { icon } from "./icons.js";
import { actionError } from "./messages.js";
import { plainNodes } from "./mrkdwn.js";

const words = (object, otherwise) => plainNodes((typeof object === "string" ? object : object?.text) ?? otherwise);
const FIRST_FIELD = "[data-autofocus], .input :is(input, select, textarea):not([disabled]), .dialog-body :is(input, select, textarea, button):not([disabled])";

function complaint(node) {
  if (node.disabled || !node.willValidate) return null;
  if (node.value === "") return null;
  if (node.minLength > 0 && node.value.length < node.minLength) return `Please write at least ${node.minLength} characters.`;
  return node.checkValidity() ? null : node.validationMessage;
}

/**
 * Draw a modal's view as a form. `on` may have `submit(event)`, `dismiss(all)` and `pushed`, which brings the way back.
 * Gives the node and the place for what is wrong with the whole.
 */
export function drawView(view, ctx, on) {
  const submit = view.submit && el("button", { type: "submit", class: "btn primary filled", "data-submit": view.id }, words(view.submit));
  const problem = el("div", { class: "problem", role: "alert", hidden: true });
  const node = el("form", { class: "view", "data-view-id": view.id, "data-callback-id": view.callback_id, novalidate: true, onsubmit: (event) => on.submit?.(event) },
    el("div", { class: "dialog-head" },
      on.pushed && el("button", { type: "button", class: "icon-button", "aria-label": "Back", onclick: () => on.dismiss?.(false) }, icon("back")),
      el("h2", { id: `title-${view.id}` }, words(view.title)),
      el("button", { type: "button", class: "icon-button", "aria-label": "Close", "data-close": "x", onclick: () => on.dismiss?.(true) }, icon("close"))),
    el("div", { class: "dialog-body" }, problem, drawBlocks(view.blocks, ctx)),
    el("div", { class: "dialog-foot" },
      (view.close || submit) && el("button", { type: "button", class: "btn", "data-close": "cancel", onclick: () => on.dismiss?.(false) }, words(view.close, "Cancel")),
      submit));
  return { node, problem };
}

/** The views that are open for the acting person. */
export class Modals {
  #stack = [];
  #dialog = null;
  #opener = null;

  constructor(store) {
    this.store = store;
    store.addEventListener("person", () => this.#clear());
    store.addEventListener("push", ({ detail: push }) => this.#push(push));
  }

  #push({ type, view, view_id: viewId }) {
    if (view?.type && view.type !== "modal") return;
    if (type === "view_opened") {
      this.#stack = [];
      this.#add(view);
    } else if (type === "view_pushed") this.#add(view);
    else if (type === "view_updated") this.#update(view);
    else if (type === "view_closed") this.#remove(viewId);
  }

  #add(view) {
    const { activeElement } = document;
    this.#opener ??= !activeElement || activeElement === document.body || activeElement.disabled ? this.store.lastControl : activeElement;
    this.#stack.push(this.#draw(view));
    this.#show(true);
  }

  #update(view) {
    const index = this.#stack.findIndex((entry) => entry.view.id === view.id);
    if (index < 0) return this.#add(view);
    const old = this.#stack[index];
    const focused = old.node.contains(document.activeElement) ? document.activeElement.dataset : {};
    const values = old.form.values();
    const fresh = this.#draw(view);
    fresh.form.restore(values);
    this.#stack[index] = fresh;
    this.#show(!focused.actionId);
    if (focused.actionId) fresh.node.querySelector(`[data-action-id="${CSS.escape(focused.actionId)}"]`)?.focus();
    return undefined;
  }

  #remove(viewId) {
    this.#stack = this.#stack.filter((entry) => entry.view.id !== viewId && entry.view.root_view_id !== viewId);
    this.#show(true);
  }

  #clear() {
    this.#stack = [];
    this.#show(false);
  }

  #show(focus) {
    const top = this.#stack.at(-1);
    if (!top) {
      // The simulator also tells of modals that were closed here: by then the focus is somebody else's.
      if (!this.#dialog) return;
      this.#dialog.close();
      this.#dialog.remove();
      this.#dialog = null;
      const back = this.#opener?.isConnected ? this.#opener : document.querySelector("#main [data-composer]");
      back?.focus();
      this.#opener = null;
      return;
    }
    if (!this.#dialog) {
      this.#dialog = el("dialog", { class: "dialog modal" });
      trap(this.#dialog, () => this.#dismiss(false));
      document.body.append(this.#dialog);
    }
    this.#dialog.setAttribute("aria-labelledby", `title-${top.view.id}`);
    this.#dialog.dataset.viewId = top.view.id;
    fill(this.#dialog, top.node);
    if (!this.#dialog.open) this.#dialog.showModal();
    if (focus) (top.node.querySelector(FIRST_FIELD) ?? top.node.querySelector(".btn.primary, .btn"))?.focus();
  }

  #draw(view) {
    const { store } = this;
    const form = new Form();
    const ctx = {
      store,
      surface: "modal",
      form,
      send: async (element, block, state) => {
        const answer = await store.api.post("action", {
          view_id: view.id, block_id: block.block_id, action_id: element.action_id, type: element.type, ...state, values: form.values(),
        });
        if (answer.ok === false) toast(actionError(answer.error), "error");
        return answer.ok !== false;
      },
    };
    const entry = { view, form };
    const pushed = this.#stack.some((each) => each.view.id !== view.id);
    Object.assign(entry, drawView(view, ctx, {
      pushed, submit: (event) => this.#submit(event, entry), dismiss: (all) => this.#dismiss(all),
    }));
    return entry;
  }

  #dismiss(all) {
    const top = this.#stack.at(-1);
    if (!top || top.sending) return;
    const cleared = all && this.#stack.length > 1;
    this.#stack = cleared ? [] : this.#stack.slice(0, -1);
    this.#show(true);
    this.store.api.post("view_close", { view_id: top.view.id, is_cleared: cleared });
  }

  #errors(entry, errors) {
    let first = null;
    const left = { ...errors };
    for (const node of entry.node.querySelectorAll("[data-error-for]")) {
      const text = Object.hasOwn(errors, node.dataset.errorFor) ? errors[node.dataset.errorFor] : "";
      delete left[node.dataset.errorFor];
      node.textContent = text;
      const control = node.parentElement.querySelector(".field, .choices");
      node.parentElement.classList.toggle("invalid", Boolean(text));
      if (text) control?.setAttribute("aria-invalid", "true");
      else control?.removeAttribute("aria-invalid");
      if (text) first ??= control?.matches("fieldset") ? control.querySelector("input") : control;
    }
    const other = Object.values(left).join(" ");
    entry.problem.textContent = other;
    entry.problem.hidden = !other;
    first?.focus();
  }

  #missing(entry) {
    const errors = {};
    const values = entry.form.values();
    for (const block of entry.view.blocks ?? []) {
      if (block.type !== "input") continue;
      const { type: _type, ...state } = values[block.block_id]?.[block.element?.action_id] ?? {};
      const value = Object.values(state)[0];
      const empty = value === null || value === undefined || String(value).trim() === "" || (Array.isArray(value) && !value.length);
      const node = entry.node.querySelector(`.field[data-block-id="${CSS.escape(block.block_id ?? "")}"]`);
      const text = empty ? !block.optional && "Please complete this required field." : node && complaint(node);
      if (text) errors[block.block_id] = text;
    }
    return errors;
  }

  async #submit(event, entry) {
    event.preventDefault();
    if (entry.sending) return;
    const missing = this.#missing(entry);
    this.#errors(entry, missing);
    if (Object.keys(missing).length) return;
    const values = entry.form.values();
    const focused = document.activeElement;
    const controls = [...entry.node.elements].filter((node) => !node.disabled);
    entry.sending = true;
    entry.node.setAttribute("aria-busy", "true");
    for (const control of controls) control.disabled = true;
    const answer = await this.store.api.post("view_submit", { view_id: entry.view.id, values });
    entry.sending = false;
    entry.node.removeAttribute("aria-busy");
    for (const control of controls) control.disabled = false;
    if (answer.errors) this.#errors(entry, answer.errors);
    else if (answer.ok === false) {
      entry.problem.textContent = actionError(answer.error);
      entry.problem.hidden = false;
      focused?.focus();
    }
  }
}
