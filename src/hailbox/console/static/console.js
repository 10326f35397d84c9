// The console's only script: it keeps the live parts of a page up to date, copies texts, and follows a log.
"use strict";
(() => {
  const live = document.body.dataset.live;
  const lost = document.getElementById("lost");
  const LINES = 1000;
  let source = null;

  // A part that is replaced keeps the keyboard's place, its open details and its scrolling.
  function replacePart(part, html) {
    const active = part.contains(document.activeElement) ? document.activeElement.id : "";
    const open = new Set([...part.querySelectorAll("details[open][id]")].map((each) => each.id));
    const scrolled = [...part.querySelectorAll("[data-scroll]")].map((each) => [each.id, each.scrollLeft, each.scrollTop]);
    part.innerHTML = html;
    for (const id of open) document.getElementById(id)?.setAttribute("open", "");
    for (const [id, left, top] of scrolled) {
      const each = document.getElementById(id);
      if (each) [each.scrollLeft, each.scrollTop] = [left, top];
    }
    if (active) document.getElementById(active)?.focus({ preventScroll: true });
  }

  function takeParts(event) {
    const parts = Object.entries(JSON.parse(event.data));
    // A page that could not be shown when it was loaded can be shown now.
    if (parts.some(([id]) => !document.getElementById(id))) return location.reload();
    for (const [id, html] of parts) replacePart(document.getElementById(id), html);
  }

  function takeLines(event) {
    const log = document.getElementById("log");
    if (!log) return;
    const follows = log.scrollTop + log.clientHeight >= log.scrollHeight - 40;
    for (const text of JSON.parse(event.data)) {
      const line = document.createElement("span");
      line.textContent = text + "\n";
      log.append(line);
    }
    while (log.childElementCount > LINES) log.firstElementChild.remove();
    if (follows) log.scrollTop = log.scrollHeight;
  }

  function takeRows(event) {
    const body = document.getElementById("trace");
    if (!body) return;
    body.insertAdjacentHTML("afterbegin", JSON.parse(event.data));
    while (body.childElementCount > LINES) body.lastElementChild.remove();
  }

  // Browsers allow six connections to one server: only pages that are seen keep one.
  function listen() {
    if (!live || source || document.hidden) return;
    for (const id of ["log", "trace"]) document.getElementById(id)?.replaceChildren();
    source = new EventSource(live);
    source.addEventListener("parts", takeParts);
    source.addEventListener("lines", takeLines);
    source.addEventListener("rows", takeRows);
    source.onopen = () => { lost.hidden = true; };
    source.onerror = () => {
      lost.hidden = false;
      if (source.readyState === EventSource.CLOSED) {
        source = null;
        setTimeout(listen, 3000);
      }
    };
  }

  function rest() {
    source?.close();
    source = null;
  }

  document.addEventListener("visibilitychange", () => (document.hidden ? rest() : listen()));
  window.addEventListener("pagehide", rest);
  window.addEventListener("pageshow", listen);

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    await navigator.clipboard.writeText(button.dataset.copy);
    const said = button.textContent;
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = said; }, 1500);
  });

  // Forms say at once that they were sent; a second click would ask twice.
  document.addEventListener("submit", (event) => {
    if (event.target.method === "post" && event.submitter) {
      setTimeout(() => { event.submitter.disabled = true; });
    }
  });

  // The command line that does what a form does, as it is filled in.
  function preview(form) {
    const target = form.querySelector("[data-line]");
    if (!target) return;
    const data = new FormData(form);
    target.textContent = target.dataset.line
      .replace(/\[([^\]]*)\{(\w+)\}\]/g, (_, before, name) => (data.get(name) ? before + data.getAll(name).join(" ") : ""))
      .replace(/\{(\w+)\}/g, (_, name) => data.get(name) || name.toUpperCase())
      .replace(/\s+/g, " ");
  }
  document.addEventListener("input", (event) => event.target.form && preview(event.target.form));
  document.querySelectorAll("form").forEach(preview);
})();
