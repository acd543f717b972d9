// Elements in which people choose: selects, checkboxes, radio buttons.
import { bind, marks } from "./elements.js";
import { el } from "./dom.js";
import { withEmoji } from "./emoji.js";
import { textObject } from "./mrkdwn.js";

const words = (object) => withEmoji(object?.text ?? "");
let serial = 0;

function flatOptions(element) {
  return element.options ?? (element.option_groups ?? []).flatMap((group) => group.options ?? []);
}

/** What a select offers: pairs of a value and a name, and the names of its groups. */
function offers(element, store) {
  if (element.type.includes("users")) {
    return [{ items: store.members().map((p) => ({ value: p.id, name: store.nameOf(p), state: p.id })) }];
  }
  if (/channels|conversations/.test(element.type)) {
    return [{ items: store.channels.filter((c) => !c.is_im).map((c) => ({ value: c.id, name: `# ${c.name}`, state: c.id })) }];
  }
  const item = (option) => ({ value: option.value, name: words(option.text), state: option });
  if (element.option_groups) {
    return element.option_groups.map((group) => ({ name: words(group.label), items: (group.options ?? []).map(item) }));
  }
  return [{ items: (element.options ?? []).map(item) }];
}

const KEYS = {
  static_select: ["selected_option", "initial_option"], external_select: ["selected_option", "initial_option"],
  users_select: ["selected_user", "initial_user"], channels_select: ["selected_channel", "initial_channel"],
  conversations_select: ["selected_conversation", "initial_conversation"],
  multi_static_select: ["selected_options", "initial_options"], multi_users_select: ["selected_users", "initial_users"],
  multi_channels_select: ["selected_channels", "initial_channels"],
  multi_conversations_select: ["selected_conversations", "initial_conversations"],
};

function idOf(state) {
  return typeof state === "object" && state ? state.value : state;
}

function select(element, block, ctx) {
  const [key, initial] = KEYS[element.type];
  const many = element.type.startsWith("multi_");
  const groups = offers(element, ctx.store);
  const states = new Map(groups.flatMap((group) => group.items).map((item) => [item.value, item.state]));
  const option = (item) => el("option", { value: item.value }, item.name);
  const node = el("select", {
    class: many ? "field many" : "field select", multiple: many, size: many ? Math.min(Math.max(states.size, 2), 5) : null,
    "aria-label": words(element.placeholder) || words(block.label) || "Choose", ...marks(element, block),
  }, !many && el("option", { value: "" }, words(element.placeholder) || "Choose an option"),
  groups.map((group) => (group.name ? el("optgroup", { label: group.name }, group.items.map(option)) : group.items.map(option))));
  const write = (state) => {
    const wanted = new Set([state ?? []].flat().map(idOf));
    for (const each of node.options) each.selected = wanted.has(each.value);
    if (!many && !wanted.size) node.value = "";
    node.classList.toggle("empty", !many && node.value === "");
  };
  write(element[initial]);
  node.addEventListener("change", () => node.classList.toggle("empty", !many && node.value === ""));
  const read = () => {
    const chosen = [...node.selectedOptions].filter((each) => each.value !== "").map((each) => states.get(each.value));
    return { type: element.type, [key]: many ? chosen : chosen[0] ?? null };
  };
  bind(node, element, block, ctx, read, (state) => write(state[key]));
  return node;
}

function boxes(kind) {
  return (element, block, ctx) => {
    serial += 1;
    const name = `choice-${serial}`;
    const options = flatOptions(element);
    const many = kind === "checkbox";
    const initial = new Set([(many ? element.initial_options : element.initial_option) ?? []].flat().map((each) => each.value));
    const inputs = options.map((option) => el("input", { type: kind, name, value: option.value }));
    inputs.forEach((input) => { input.checked = initial.has(input.value); });
    const node = el("fieldset", {
      class: "choices", role: many ? "group" : "radiogroup", "aria-label": words(block.label) || "Options",
      ...marks(element, block),
    }, options.map((option, n) => el("label", { class: "choice" }, inputs[n], el("span", {},
      el("span", { class: "choice-text" }, textObject(option.text, ctx.store)),
      option.description && el("span", { class: "choice-note" }, textObject(option.description, ctx.store))))));
    const chosen = () => options.filter((_option, n) => inputs[n].checked);
    const read = () => (many
      ? { type: element.type, selected_options: chosen() }
      : { type: element.type, selected_option: chosen()[0] ?? null });
    bind(node, element, block, ctx, read, (state) => {
      const wanted = new Set([(many ? state.selected_options : state.selected_option) ?? []].flat().map((each) => each.value));
      inputs.forEach((input) => { input.checked = wanted.has(input.value); });
    });
    return node;
  };
}

const DRAW = { checkboxes: boxes("checkbox"), radio_buttons: boxes("radio") };

/** The drawer for that type of element, or undefined. */
export function choiceElement(type) {
  return DRAW[type] ?? (Object.hasOwn(KEYS, type ?? "") ? select : undefined);
}
