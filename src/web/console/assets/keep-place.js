// A live page keeps its place when it is made anew: what has the focus, what was typed, and how far its tables are scrolled. One that
// has not changed is left as it is, with what somebody has selected in it.
"use strict";
{
  const things = (root) => [...root.querySelectorAll("a[href], button, input:not([type=hidden])")];
  const tables = (root) => [...root.querySelectorAll(".scroll")];
  // A thing of a form is known by its form and its place in it.
  const itself = (thing) => {
    const form = thing.closest("form");
    return form ? `${things(form).indexOf(thing)} ${form.outerHTML}` : thing.outerHTML;
  };
  const row = (thing) => thing.closest("tr")?.cells[0].textContent.trim();
  const place = (thing) => things(thing.closest("tr")).indexOf(thing);
  const fields = (root) => [...root.querySelectorAll("input:not([type=hidden])")];
  let shown, focused, scrolled, typed;

  document.body.addEventListener("htmx:beforeSwap", ({ detail }) => {
    if (detail.serverResponse === shown) {
      detail.shouldSwap = false;
      return;
    }
    shown = detail.serverResponse;
    scrolled = tables(detail.target).map((table) => table.scrollLeft);
    typed = fields(detail.target)
      .filter((field) => field.value !== field.defaultValue)
      .map((field) => ({ itself: itself(field), value: field.value }));
    const active = document.activeElement;
    focused = detail.target.contains(active) ? { itself: itself(active), row: row(active), place: row(active) && place(active) } : undefined;
  });

  document.body.addEventListener("htmx:afterSwap", ({ detail }) => {
    tables(detail.target).forEach((table, n) => { table.scrollLeft = scrolled[n] ?? 0; });
    // Into the same form, and into no other.
    for (const before of typed) {
      const same = fields(detail.target).find((field) => itself(field) === before.itself);
      if (same) same.value = before.value;
    }
    if (!focused) return;
    const found = things(detail.target);
    // The same thing, or what has taken its place in its row: never another row's.
    const same = found.find((thing) => itself(thing) === focused.itself)
      ?? found.find((thing) => focused.row && row(thing) === focused.row && place(thing) === focused.place);
    same?.focus({ preventScroll: true });
  });
}
