// Adds the local time to every moment: the page itself shows UTC.
"use strict";
function local(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    time.title = new Date(time.dateTime).toLocaleString();
  }
}
local(document);
document.body.addEventListener("htmx:afterSwap", (event) => local(event.target));
