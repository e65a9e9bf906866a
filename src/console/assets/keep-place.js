// A live page keeps its place when it is made anew: what has the focus and how far its tables are scrolled. One that has not
// changed is left as it is, with what somebody has selected in it.
"use strict";
{
  const things = (root) => [...root.querySelectorAll("a[href], button, input:not([type=hidden])")];
  const tables = (root) => [...root.querySelectorAll(".scroll")];
  const itself = (thing) => (thing.closest("form") ?? thing).outerHTML;
  const row = (thing) => thing.closest("tr")?.cells[0].textContent.trim();
  const place = (thing) => things(thing.closest("tr")).indexOf(thing);
  let shown, focused, scrolled;

  document.body.addEventListener("htmx:beforeSwap", ({ detail }) => {
    if (detail.serverResponse === shown) {
      detail.shouldSwap = false;
      return;
    }
    shown = detail.serverResponse;
    scrolled = tables(detail.target).map((table) => table.scrollLeft);
    const active = document.activeElement;
    focused = detail.target.contains(active) ? { itself: itself(active), row: row(active), place: row(active) && place(active) } : undefined;
  });

  document.body.addEventListener("htmx:afterSwap", ({ detail }) => {
    tables(detail.target).forEach((table, n) => { table.scrollLeft = scrolled[n] ?? 0; });
    if (!focused) return;
    const found = things(detail.target);
    // The same thing, or what has taken its place in its row: never another row's.
    const same = found.find((thing) => itself(thing) === focused.itself)
      ?? found.find((thing) => focused.row && row(thing) === focused.row && place(thing) === focused.place);
    same?.focus({ preventScroll: true });
  });
}
