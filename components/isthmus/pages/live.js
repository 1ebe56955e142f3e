// Asks the command that served this page for what is new, and shows it in place. What it gets is the page's own template, escaped there.
"use strict";
const view = document.getElementById("view"), live = document.getElementById("live");
let tag = "", failed = 0;

function place(text) {
  const open = [...view.querySelectorAll("details[open]")].map((it) => it.id);
  const focus = document.activeElement && view.contains(document.activeElement) ? document.activeElement.id : "";
  view.innerHTML = text;
  for (const id of open) { const found = document.getElementById(id); if (found) found.open = true; }
  if (focus) { const found = document.getElementById(focus); if (found) found.focus({ preventScroll: true }); }
}

async function look() {
  try {
    const answer = await fetch("/view", { headers: tag ? { "If-None-Match": tag } : {} });
    if (answer.status === 200) { tag = answer.headers.get("ETag"); place(await answer.text()); }
    const trouble = answer.headers.get("Isthmus-Trouble");
    if (answer.status !== 200 && answer.status !== 304) throw new Error(String(answer.status));
    failed = 0;
    say(trouble ? "The last look failed: " + decodeURIComponent(trouble) : "Live.");
  } catch {
    failed += 1;
    if (failed > 1) say("Not live any more: the command that serves this page does not answer.");
  }
  setTimeout(look, Math.min(2000 * 2 ** Math.max(0, failed - 2), 30000));
}

function say(text) { if (live.textContent !== text) live.textContent = text; }

look();
