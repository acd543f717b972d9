// Dialogs on the native element: it makes the rest of the page inert and gives focus back.
import { el } from "./dom.js";
import { plainNodes, textObject } from "./mrkdwn.js";

const FOCUSABLE = "a[href], button:not([disabled]), input:not([disabled]), select:not([disabled]), textarea:not([disabled]), [tabindex='0']";

/** Keep Tab inside a dialog and let Escape call `onEscape` once, whatever is open inside it. */
export function trap(dialog, onEscape) {
  dialog.addEventListener("cancel", (event) => event.preventDefault());
  dialog.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      event.preventDefault();
      event.stopPropagation();
      onEscape();
    }
    if (event.key !== "Tab") return;
    const all = [...dialog.querySelectorAll(FOCUSABLE)].filter((node) => node.getClientRects().length > 0);
    if (all.length === 0) return;
    const edge = event.shiftKey ? all[0] : all.at(-1);
    if (document.activeElement !== edge && dialog.contains(document.activeElement)) return;
    event.preventDefault();
    (event.shiftKey ? all.at(-1) : all[0]).focus();
  });
}

/** Ask "are you sure?" as the element's `confirm` words it; true when the person agrees. */
export function confirmed(confirm, store) {
  return new Promise((resolve) => {
    const dialog = el("dialog", { class: "dialog small", "aria-label": confirm.title?.text ?? "Are you sure?", "data-confirm": true });
    const finish = (answer) => {
      dialog.close();
      dialog.remove();
      resolve(answer);
    };
    const style = confirm.style === "danger" ? "danger filled" : "primary";
    const agree = el("button", { type: "button", class: `btn ${style}`, "data-confirm-action": "confirm", onclick: () => finish(true) },
      plainNodes(confirm.confirm?.text ?? "Yes"));
    dialog.append(
      el("div", { class: "dialog-head" }, el("h2", {}, plainNodes(confirm.title?.text ?? "Are you sure?"))),
      el("div", { class: "dialog-body" }, el("div", { class: "text" }, textObject(confirm.text, store))),
      el("div", { class: "dialog-foot" },
        el("button", { type: "button", class: "btn", "data-confirm-action": "deny", onclick: () => finish(false) }, plainNodes(confirm.deny?.text ?? "Cancel")),
        agree));
    trap(dialog, () => finish(false));
    document.body.append(dialog);
    dialog.showModal();
    agree.focus();
  });
}

/** Show a passing word at the bottom of the page, above everything; errors are announced at once. */
export function toast(text, level = "info") {
  let shelf = document.getElementById("toasts");
  if (!shelf) {
    shelf = el("div", { id: "toasts", class: "toasts", popover: "manual" });
    document.body.append(shelf);
  }
  if ([...shelf.children].some((other) => other.textContent === text)) return;
  const note = el("div", { class: `toast ${level === "error" ? "error" : "info"}`, role: level === "error" ? "alert" : "status" }, text);
  shelf.append(note);
  if (shelf.matches(":popover-open")) shelf.hidePopover();
  shelf.showPopover();
  setTimeout(() => {
    note.remove();
    if (!shelf.childElementCount && shelf.matches(":popover-open")) shelf.hidePopover();
  }, 7000);
}
