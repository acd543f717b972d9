// Pop-up menus: arrow keys move, Escape closes, focus goes back to what opened them.
import { el } from "./dom.js";

/**
 * Open a menu at a control. An item is `{label, note?, node?, checked?, attributes?, pick}`; `node` draws it instead
 * of its label.
 */
export function openMenu(anchor, items, { align = "left", label = "Menu" } = {}) {
  const menu = el("div", { class: "menu", role: "menu", "aria-label": label, popover: "auto" });
  const close = () => {
    if (menu.matches(":popover-open")) menu.hidePopover();
  };
  for (const item of items) {
    const checked = item.checked === undefined ? null : String(item.checked);
    menu.append(el("button", {
      type: "button", class: "menu-item", role: checked === null ? "menuitem" : "menuitemradio", "aria-checked": checked,
      tabindex: -1, ...item.attributes,
      onclick: () => {
        close();
        item.pick();
      },
    }, item.node ?? [el("span", {}, item.label), item.note && el("span", { class: "menu-note" }, item.note)]));
  }
  (anchor.closest("dialog") ?? document.body).append(menu);
  menu.showPopover();
  const at = anchor.getBoundingClientRect();
  const size = menu.getBoundingClientRect();
  const left = align === "right" ? at.right - size.width : at.left;
  const below = at.bottom + 4 + size.height <= window.innerHeight;
  menu.style.left = `${Math.max(8, Math.min(left, window.innerWidth - size.width - 8))}px`;
  menu.style.top = `${below ? at.bottom + 4 : Math.max(8, at.top - size.height - 4)}px`;
  anchor.setAttribute("aria-expanded", "true");

  const rows = [...menu.children];
  (rows.find((row) => row.getAttribute("aria-checked") === "true") ?? rows[0])?.focus();
  menu.addEventListener("keydown", (event) => {
    const n = rows.indexOf(document.activeElement);
    const to = { ArrowDown: (n + 1) % rows.length, ArrowUp: (n - 1 + rows.length) % rows.length, Home: 0, End: rows.length - 1 }[event.key];
    if (to !== undefined) {
      event.preventDefault();
      rows[to].focus();
    } else if (event.key === "Tab") close();
    else if (event.key === "Escape") {
      event.preventDefault();
      event.stopPropagation();
      close();
    }
  });
  menu.addEventListener("toggle", (event) => {
    if (event.newState !== "closed") return;
    const inside = menu.contains(document.activeElement) || document.activeElement === document.body;
    menu.remove();
    anchor.setAttribute("aria-expanded", "false");
    if (inside && anchor.isConnected) anchor.focus();
  });
}
