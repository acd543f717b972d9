// Blocks in which agent apps show their work: containers, cards, plans and tasks.
import { drawBlocks } from "./blocks.js";
import { el, link } from "./dom.js";
import { drawElement, picture } from "./elements.js";
import { icon } from "./icons.js";
import { plainNodes, textObject } from "./mrkdwn.js";
import { richText } from "./richtext.js";

const WIDTHS = new Set(["narrow", "standard", "wide", "full"]);
const STATUS = {
  pending: ["Pending", "circle"], in_progress: ["In progress", "ring"], complete: ["Complete", "done"], error: ["Failed", "failed"],
};

function titles(block, ctx) {
  return el("span", { class: "container-titles" },
    el("span", { class: "container-title" }, block.rich_text_title ? richText(block.rich_text_title, ctx.store) : plainNodes(block.title?.text)),
    block.subtitle && el("span", { class: "container-subtitle" }, textObject(block.subtitle, ctx.store)));
}

/** Draw a container; a collapsible one is a disclosure. */
export function container(block, ctx) {
  const width = WIDTHS.has(block.width) ? block.width : "standard";
  const head = [block.icon && picture(block.icon, "container-icon"), titles(block, ctx)];
  const body = el("div", { class: "container-body" }, drawBlocks(block.child_blocks, ctx));
  if (!block.is_collapsible) {
    return el("div", { class: `container ${width} ${block.has_header_divider ? "divided" : ""}`, role: "group", "aria-label": block.title?.text ?? "Group" },
      el("div", { class: "container-head" }, head), body);
  }
  return el("details", { class: `container ${width}`, open: !block.default_collapsed },
    el("summary", { class: "container-head" }, icon("chevron", 16), head), body);
}

/** Draw a card with picture, words and buttons. */
export function card(block, ctx) {
  return el("div", { class: "card" },
    block.hero_image && picture(block.hero_image, "card-hero"),
    el("div", { class: "card-head" }, block.icon && picture(block.icon, "container-icon"),
      el("div", {}, block.title && el("div", { class: "card-title" }, textObject(block.title, ctx.store)),
        block.subtitle && el("div", { class: "container-subtitle" }, textObject(block.subtitle, ctx.store)))),
    block.body && el("div", { class: "text" }, textObject(block.body, ctx.store)),
    block.actions?.length > 0 && el("div", { class: "actions" }, block.actions.map((element) => drawElement(element, block, ctx))));
}

/** Draw cards side by side. */
export function carousel(block, ctx) {
  return el("div", { class: "carousel", tabindex: 0, role: "region", "aria-label": "Cards" },
    (block.elements ?? []).map((each) => card(each, { ...ctx })));
}

function sources(list) {
  if (!list?.length) return null;
  return el("ul", { class: "task-sources", "aria-label": "Sources" }, list.map((source) => el("li", {}, link(source.url, source.text || source.url))));
}

function task(part, ctx, tag) {
  const [words, name] = STATUS[part.status] ?? STATUS.pending;
  return el(tag, { class: `task ${name}`, "data-task-id": part.task_id ?? null, "data-status": part.status ?? null },
    el("span", { class: `task-icon ${name}`, role: "img", "aria-label": words }, name === "ring" ? null : icon(name, 16)),
    el("div", { class: "task-main" },
      el("div", { class: "task-title" }, plainNodes(part.title)),
      part.details && el("div", { class: "task-details" }, richText(part.details, ctx.store)),
      part.output && el("div", { class: "task-output" }, richText(part.output, ctx.store)),
      sources(part.sources)));
}

/** Draw one task with its status. */
export function taskCard(block, ctx) {
  return el("div", { class: "task-card" }, task(block, ctx, "div"));
}

/** Draw a plan: its title, how far it is, its tasks. */
export function plan(block, ctx) {
  const tasks = block.tasks ?? [];
  const done = tasks.filter((each) => each.status === "complete").length;
  const busy = tasks.some((each) => each.status === "in_progress");
  return el("details", { class: "plan", open: true },
    el("summary", { class: "plan-head" }, icon("chevron", 16),
      el("span", { class: busy ? "plan-title busy" : "plan-title" }, plainNodes(block.title)),
      tasks.length > 0 && el("span", { class: "plan-count" }, `${done} of ${tasks.length}`)),
    tasks.length > 0 && el("ol", { class: "plan-tasks", "aria-label": "Tasks" }, tasks.map((each) => task(each, ctx, "li"))));
}
