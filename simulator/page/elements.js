// Interactive Block Kit elements. `ctx` has the store, the surface, its Form and `send(element, block, state)`.
import { confirmed } from "./dialog.js";
import { el, safeImage, safeUrl } from "./dom.js";
import { withEmoji } from "./emoji.js";
import { choiceElement } from "./choices.js";
import { icon } from "./icons.js";
import { openMenu } from "./menu.js";
import { plainNodes } from "./mrkdwn.js";

const words = (object) => withEmoji(object?.text ?? "");

/** The attributes by which tests and code find an element. */
export function marks(element, block) {
  return { "data-action-id": element.action_id ?? null, "data-block-id": block.block_id ?? null };
}

/** Ask for confirmation if the element wants it, send, and keep the control disabled while it is in flight. */
export async function perform(control, element, block, ctx, state) {
  if (element.confirm && !(await confirmed(element.confirm, ctx.store))) return false;
  ctx.store.lastControl = control;
  const focused = control.contains(document.activeElement);
  control.disabled = true;
  control.classList.add("busy");
  try {
    return await ctx.send(element, block, state);
  } finally {
    control.disabled = false;
    control.classList.remove("busy");
    const lost = !document.activeElement || document.activeElement === document.body;
    if (focused && lost && control.isConnected) control.focus();
  }
}

function button(element, block, ctx) {
  const style = ["primary", "danger"].includes(element.style) ? element.style : "";
  const node = el("button", {
    type: "button", class: `btn ${style}`, "aria-label": element.accessibility_label, ...marks(element, block),
    onclick: () => {
      const address = element.url && safeUrl(element.url);
      if (address) window.open(address, "_blank", "noopener,noreferrer");
      perform(node, element, block, ctx, element.value === undefined ? {} : { value: element.value });
    },
  }, plainNodes(element.text?.text));
  return node;
}

function iconButton(element, block, ctx) {
  const name = words(element.text);
  const node = el("button", {
    type: "button", class: "btn square ghost", title: name, "aria-label": element.accessibility_label ?? name, ...marks(element, block),
    onclick: () => perform(node, element, block, ctx, element.value === undefined ? {} : { value: element.value }),
  }, icon(element.icon === "trash" ? "trash" : "more", 18));
  return node;
}

function overflow(element, block, ctx) {
  const node = el("button", {
    type: "button", class: "btn square", "aria-label": "More actions", "aria-haspopup": "menu", ...marks(element, block),
    onclick: () => openMenu(node, (element.options ?? []).map((option) => ({
      label: words(option.text),
      note: words(option.description),
      pick: () => {
        const address = option.url && safeUrl(option.url);
        if (address) window.open(address, "_blank", "noopener,noreferrer");
        perform(node, element, block, ctx, { selected_option: option });
      },
    }))),
  }, icon("more", 18));
  return node;
}

/** Where an element's state goes: kept for the form and, outside quiet inputs, sent as an action at each change. */
export function bind(control, element, block, ctx, read, write) {
  ctx.form.add(block.block_id, element.action_id, read, write);
  if (block.type === "input" && !block.dispatch_action) return;
  control.addEventListener("change", async () => {
    const { type: _type, ...state } = read();
    await perform(control, element, block, ctx, state);
  });
}

function picker(kind, key, initial, toState, fromState) {
  return (element, block, ctx) => {
    const node = el("input", {
      type: kind, class: "field compact", "aria-label": words(element.placeholder) || words(block.label) || "Pick",
      ...marks(element, block),
    });
    node.value = fromState(element[initial]);
    const read = () => ({ type: element.type, [key]: toState(node.value) });
    bind(node, element, block, ctx, read, (state) => { node.value = fromState(state[key]); });
    return node;
  };
}

const asIs = (value) => value || null;
const shown = (value) => value ?? "";
const local = (seconds) => {
  if (!seconds) return "";
  const date = new Date(seconds * 1000);
  return new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
};
const seconds = (value) => (value ? Math.floor(new Date(value).getTime() / 1000) : null);

function textInput(element, block, ctx) {
  const many = element.type === "plain_text_input" && element.multiline;
  const kinds = { number_input: "number", email_text_input: "email", url_text_input: "url" };
  const node = el(many ? "textarea" : "input", {
    class: "field", type: many ? null : kinds[element.type] ?? "text", rows: many ? 4 : null,
    placeholder: words(element.placeholder) || null, maxlength: element.max_length, minlength: element.min_length,
    min: element.min_value, max: element.max_value,
    step: element.type === "number_input" ? (element.is_decimal_allowed ? "any" : 1) : null,
    autocomplete: "off", ...marks(element, block),
  });
  node.value = element.initial_value ?? "";
  const read = () => ({ type: element.type, value: node.value === "" ? null : node.value });
  ctx.form.add(block.block_id, element.action_id, read, (state) => { node.value = state.value ?? ""; });
  if (element.focus_on_load) node.dataset.autofocus = "";
  if (block.dispatch_action && !many) {
    node.addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault();
      perform(node, element, block, ctx, { value: node.value });
    });
  }
  return node;
}

function feedback(element, block, ctx) {
  const one = (option, name) => {
    const node = el("button", {
      type: "button", class: "btn square ghost", title: words(option?.text),
      "aria-label": option?.accessibility_label ?? words(option?.text), ...marks(element, block),
      onclick: async () => {
        if (!(await perform(node, element, block, ctx, { value: option?.value }))) return;
        for (const other of [...node.parentElement.children]) {
          other.classList.toggle("on", other === node);
          other.setAttribute("aria-pressed", String(other === node));
        }
      },
      "aria-pressed": "false", "data-value": option?.value,
    }, icon(name, 18));
    return node;
  };
  return el("span", { class: "feedback" }, one(element.positive_button, "up"), one(element.negative_button, "down"));
}

/** A picture, or its words when the address is not one that a page may load. */
export function picture(element, className) {
  const address = safeImage(element.image_url ?? element.slack_file?.url ?? "");
  if (!address) return el("span", { class: "unknown-inline" }, element.alt_text ?? "image");
  return el("img", {
    class: className, src: address, alt: element.alt_text ?? "", referrerpolicy: "no-referrer",
    onerror: (event) => event.target.replaceWith(el("span", { class: "unknown-inline" }, element.alt_text || "image")),
  });
}

function unknown(element) {
  return el("span", { class: "unknown-inline" }, `Element “${element.type}” is not drawn here`);
}

const DRAW = {
  button, overflow, workflow_button: button,
  icon_button: iconButton,
  feedback_buttons: feedback,
  image: (element) => picture(element, "accessory-image"),
  plain_text_input: textInput, number_input: textInput, email_text_input: textInput, url_text_input: textInput,
  datepicker: picker("date", "selected_date", "initial_date", asIs, shown),
  timepicker: picker("time", "selected_time", "initial_time", asIs, shown),
  datetimepicker: picker("datetime-local", "selected_date_time", "initial_date_time", seconds, local),
};

/** Draw one element; what is not known becomes a grey placeholder. */
export function drawElement(element, block, ctx) {
  return (DRAW[element?.type] ?? choiceElement(element?.type) ?? unknown)(element ?? {}, block, ctx);
}
