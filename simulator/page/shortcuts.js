// Shortcuts and workflow steps: the app's entries in menus, and the dialog in which a step is run.
import { toast, trap } from "./dialog.js";
import { el, fill } from "./dom.js";
import { icon } from "./icons.js";
import { openMenu } from "./menu.js";
import { actionError } from "./messages.js";

const STATES = { running: "Running", completed: "Completed", failed: "Failed" };

async function use(store, body) {
  const answer = await store.api.post("shortcut", body);
  // When nobody answers, the simulator says so itself.
  if (answer.ok === false && !["timeout", "dispatch_failed"].includes(answer.error)) toast(actionError(answer.error), "error");
}

/** The menu of a message: its link, and the app's message shortcuts. */
export function messageMenu(anchor, message, store, more) {
  const shortcuts = store.shortcuts.filter((each) => each.type === "message");
  openMenu(anchor, [...more, ...shortcuts.map((each) => ({
    label: each.name, note: store.app.name, attributes: { "data-shortcut": each.callback_id },
    pick: () => {
      store.lastControl = anchor;
      use(store, { callback_id: each.callback_id, channel: message.channel, ts: message.ts });
    },
  }))], { label: "More actions", align: "right" });
}

/** The menu of the composer: global shortcuts, and the app's functions as steps of a workflow. */
export function globalMenu(anchor, store) {
  const shortcuts = store.shortcuts.filter((each) => each.type === "global");
  openMenu(anchor, [
    ...shortcuts.map((each) => ({
      label: each.name, note: store.app.name, attributes: { "data-shortcut": each.callback_id },
      pick: () => {
        store.lastControl = anchor;
        use(store, { callback_id: each.callback_id });
      },
    })),
    ...store.functions.map((each) => ({
      label: `Workflow step: ${each.title}`, note: store.app.name, attributes: { "data-function": each.callback_id },
      pick: () => new StepDialog(store, each, anchor),
    })),
  ], { label: "Shortcuts" });
}

function field(parameter, store) {
  const id = `step-${parameter.name}`;
  const attributes = { class: "field", id, name: parameter.name, required: parameter.is_required };
  const offer = (items) => el("select", { ...attributes, class: "field select" }, items.map(([value, name, chosen]) => el("option", { value, selected: chosen }, name)));
  let control;
  if (parameter.type.endsWith("user_id")) control = offer(store.members().map((person) => [person.id, store.nameOf(person), person.id === store.me.id]));
  else if (parameter.type.endsWith("channel_id")) control = offer(store.channels.filter((each) => !each.is_im).map((each) => [each.id, `# ${each.name}`, each.id === store.channelId]));
  else control = el("textarea", { ...attributes, rows: 2 });
  return el("div", { class: "input" }, el("label", { class: "label", for: id }, parameter.title, !parameter.is_required && el("span", { class: "optional" }, " (optional)")), control);
}

/** Runs one of the app's functions and shows what came of its runs. */
class StepDialog {
  constructor(store, step, opener) {
    this.store = store;
    this.step = step;
    this.opener = opener;
    this.runs = el("ul", { class: "step-runs", "aria-live": "polite", "aria-label": "Runs of this step" });
    this.problem = el("div", { class: "problem", role: "alert", hidden: true });
    this.dialog = el("dialog", { class: "dialog", "aria-labelledby": "step-title", "data-step": step.callback_id },
      el("form", { class: "view", novalidate: true, onsubmit: (event) => this.#run(event) },
        el("div", { class: "dialog-head" }, el("h2", { id: "step-title" }, step.title),
          el("button", { type: "button", class: "icon-button", "aria-label": "Close", onclick: () => this.close() }, icon("close"))),
        el("div", { class: "dialog-body" }, this.problem, step.description && el("p", { class: "hint" }, step.description),
          step.inputs.map((parameter) => field(parameter, store)), this.runs),
        el("div", { class: "dialog-foot" },
          el("button", { type: "button", class: "btn", onclick: () => this.close() }, "Close"),
          el("button", { type: "submit", class: "btn primary filled" }, "Run step"))));
    trap(this.dialog, () => this.close());
    this.heard = ({ detail }) => detail.type === "function" && this.#draw();
    store.addEventListener("push", this.heard);
    document.body.append(this.dialog);
    this.dialog.showModal();
    this.dialog.querySelector(".field")?.focus();
    this.#draw();
  }

  close() {
    this.store.removeEventListener("push", this.heard);
    this.dialog.close();
    this.dialog.remove();
    if (this.opener.isConnected) this.opener.focus();
  }

  async #run(event) {
    event.preventDefault();
    const inputs = Object.fromEntries([...new FormData(event.target)].filter(([, value]) => value !== ""));
    const answer = await this.store.api.post("run_function", { callback_id: this.step.callback_id, inputs });
    const wrong = answer.response_metadata?.messages?.join(", ");
    this.problem.hidden = answer.ok !== false;
    this.problem.textContent = answer.ok === false ? `This step was not run: ${wrong ?? answer.error}.` : "";
  }

  async #draw() {
    const { executions } = await this.store.api.get("functions");
    const mine = (executions ?? []).filter((each) => each.callback_id === this.step.callback_id).reverse();
    fill(this.runs, mine.slice(0, 5).map((run) => el("li", { class: `step-run ${run.state}`, "data-run": run.id },
      el("strong", {}, STATES[run.state]), run.error && el("span", {}, run.error),
      Object.entries(run.outputs ?? {}).map(([name, value]) => el("span", {}, el("em", {}, `${name}: `), String(value))))));
  }
}
