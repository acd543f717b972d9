// Block Kit: one drawer for each type of block.
import { el } from "./dom.js";
import { drawElement, picture } from "./elements.js";
import { icon } from "./icons.js";
import { markdown } from "./markdown.js";
import { decode, mrkdwn, plainNodes, textObject } from "./mrkdwn.js";
import { richText, tableBlock } from "./richtext.js";
import { card, carousel, container, plan, taskCard } from "./structured.js";

let serial = 0;

function section(block, ctx) {
  const body = [];
  if (block.text) body.push(el("div", { class: "text" }, textObject(block.text, ctx.store)));
  if (block.fields) {
    body.push(el("div", { class: "fields" }, block.fields.map((field) => el("div", { class: "text" }, textObject(field, ctx.store)))));
  }
  if (!block.accessory) return el("div", { class: "section" }, body);
  return el("div", { class: "section with-accessory" }, el("div", { class: "section-body" }, body),
    el("div", { class: "accessory" }, drawElement(block.accessory, block, ctx)));
}

function context(block, ctx) {
  return el("div", { class: "context" }, (block.elements ?? []).map((element) => (element.type === "image"
    ? picture(element, "context-image")
    : el("span", { class: "text" }, textObject(element, ctx.store)))));
}

function actions(block, ctx) {
  return el("div", { class: "actions" }, (block.elements ?? []).map((element) => drawElement(element, block, ctx)));
}

function image(block) {
  return el("figure", { class: "image" }, block.title && el("figcaption", {}, plainNodes(block.title.text)),
    picture(block, "block-image"));
}

function input(block, ctx) {
  serial += 1;
  const id = `input-${serial}`;
  const control = drawElement(block.element, block, ctx);
  const describedBy = [block.hint && `${id}-hint`, `${id}-error`].filter(Boolean).join(" ");
  control.setAttribute("aria-describedby", describedBy);
  const group = control.tagName === "FIELDSET";
  if (group) control.setAttribute("aria-labelledby", `${id}-label`);
  else {
    control.id = id;
    control.removeAttribute("aria-label");
    if (!block.optional) control.setAttribute("aria-required", "true");
  }
  return el("div", { class: "input" },
    el(group ? "div" : "label", { class: "label", id: `${id}-label`, for: group ? null : id },
      plainNodes(block.label?.text), block.optional && el("span", { class: "optional" }, " (optional)")),
    control,
    el("div", { class: "error", id: `${id}-error`, role: "alert", "data-error-for": block.block_id }),
    block.hint && el("div", { class: "hint", id: `${id}-hint` }, plainNodes(block.hint.text)));
}

const ALERTS = { default: "info", info: "info", warning: "warn", error: "failed", success: "done" };

function alert(block, ctx) {
  const level = Object.hasOwn(ALERTS, block.level ?? "") ? block.level : "default";
  return el("div", { class: `alert ${level}`, role: "note", "aria-label": level === "default" ? "Note" : `Note: ${level}` },
    icon(ALERTS[level], 18), el("div", { class: "text" }, textObject(block.text, ctx.store)));
}

function contextActions(block, ctx) {
  const mine = (block.elements ?? []).filter((each) => !each.visible_to_user_ids?.length || each.visible_to_user_ids.includes(ctx.store.me?.id));
  return el("div", { class: "context-actions", role: "group", "aria-label": "About this answer" }, mine.map((element) => drawElement(element, block, ctx)));
}

function unknown(block) {
  return el("div", { class: "unknown" }, `Block “${block?.type ?? "?"}” is not drawn here`);
}

const DRAW = {
  section, context, actions, image, input, alert, container, card, carousel, plan,
  context_actions: contextActions,
  task_card: taskCard,
  divider: () => el("hr"),
  header: (block) => el("div", { class: "header", role: "heading", "aria-level": 3 }, plainNodes(block.text?.text)),
  rich_text: (block, ctx) => richText(block, ctx.store),
  markdown: (block) => el("div", { class: "markdown" }, markdown(block.text)),
  table: (block, ctx) => tableBlock(block, ctx.store),
};

/** Draw blocks; a block that cannot be read becomes a placeholder and does not take the others with it. */
export function drawBlocks(blocks, ctx) {
  return (blocks ?? []).map((block) => {
    const draw = Object.hasOwn(DRAW, block?.type ?? "") ? DRAW[block.type] : unknown;
    let inner;
    try {
      inner = draw(block, ctx);
    } catch (error) {
      console.error("A block could not be drawn", error);
      inner = unknown(block);
    }
    return el("div", { class: `block block-${draw === unknown ? "unknown" : block.type}`, "data-block-id": block?.block_id ?? null }, inner);
  });
}

const COLOURS = { good: "#2eb67d", warning: "#ecb22e", danger: "#e01e5a" };

/** Draw one legacy attachment with its colour bar. */
export function drawAttachment(attachment, ctx) {
  const given = COLOURS[attachment.color] ?? `#${String(attachment.color ?? "").replace(/^#/, "")}`;
  const bar = el("div", { class: "attachment-bar" });
  if (/^#[0-9a-f]{3,8}$/i.test(given)) bar.style.background = given;
  const fields = attachment.fields ?? [];
  return el("div", { class: "attachment" }, bar, el("div", { class: "attachment-body" },
    attachment.pretext && el("div", { class: "text" }, mrkdwn(attachment.pretext, ctx.store)),
    attachment.title && el("strong", {}, decode(attachment.title)),
    attachment.text && el("div", { class: "text" }, mrkdwn(attachment.text, ctx.store)),
    fields.length > 0 && el("div", { class: "fields" }, fields.map((field) => el("div", { class: "text" },
      el("strong", {}, decode(field.title ?? "")), el("br"), mrkdwn(field.value, ctx.store)))),
    drawBlocks(attachment.blocks, ctx),
    !attachment.text && !attachment.blocks && attachment.fallback && mrkdwn(attachment.fallback, ctx.store),
    attachment.footer && el("div", { class: "context" }, decode(attachment.footer))));
}
