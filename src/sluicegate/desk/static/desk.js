// The desk works without this: it adds keys, ticking clocks and the state of the live connection.
"use strict";
(() => {
  const rows = () => [...document.querySelectorAll("table.queue tbody tr")];
  let current = sessionStorage.getItem("desk-current");
  const chosen = new Set();

  const point = (row, focus = true) => {
    rows().forEach((each) => each.classList.toggle("current", each === row));
    if (!row) return;
    current = row.dataset.case;
    sessionStorage.setItem("desk-current", current);
    if (focus) row.querySelector("td.account a").focus({ preventScroll: true });
    row.scrollIntoView({ block: "nearest" });
  };
  const pointed = () => rows().find((each) => each.dataset.case === current);
  const move = (by) => {
    const all = rows();
    if (!all.length) return;
    const at = all.indexOf(pointed());
    point(all[at < 0 ? 0 : Math.min(all.length - 1, Math.max(0, at + by))]);
  };
  const press = (selector, within = document) => within.querySelector(selector)?.click();
  const goTo = (id) => {
    const place = document.getElementById(id);
    if (!place) return false;
    place.scrollIntoView({ block: "start" });
    (place.querySelector("select, input:not([type=hidden]), textarea, button") ?? place).focus();
    return true;
  };

  document.addEventListener("keydown", (event) => {
    const field = event.target.closest("input:not([type=checkbox]), textarea, select");
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (field) {
      if (event.key === "Escape") field.blur();
      return;
    }
    const onCase = document.querySelector("[data-case]:not(tr)");
    const row = pointed();
    const keys = {
      j: () => move(1),
      k: () => move(-1),
      c: () => press("form[action$='/claim'] button, button[formaction$='/claim']", onCase ?? row ?? undefined),
      x: () => row?.querySelector("input[type=checkbox]").click(),
      "/": () => document.getElementById("account")?.focus(),
      "?": () => location.assign("/desk/me"),
      m: () => {
        if (!goTo("measures") && row) location.assign(`/desk/cases/${row.dataset.case}#measures`);
      },
      Enter: () => {
        if (row && (event.target === document.body || event.target.id === "main")) {
          location.assign(`/desk/cases/${row.dataset.case}`);
        } else return true;
      },
    };
    const act = keys[event.key];
    if (act && act() !== true) event.preventDefault();
  });

  // What htmx puts in place of the rows keeps the pointer and the ticks.
  const count = () => {
    const place = document.getElementById("chosen-count");
    if (place) place.textContent = chosen.size ? `(${chosen.size})` : "";
  };
  document.addEventListener("change", (event) => {
    if (event.target.name !== "case") return;
    if (event.target.checked) chosen.add(event.target.value);
    else chosen.delete(event.target.value);
    count();
  });
  let hadFocus = false;
  document.addEventListener("htmx:beforeSwap", (event) => {
    hadFocus = event.target.contains(document.activeElement);
  });
  document.addEventListener("htmx:afterSwap", () => {
    for (const row of rows()) {
      const tick = row.querySelector("input[type=checkbox]");
      if (tick) tick.checked = chosen.has(row.dataset.case);
    }
    point(pointed(), hadFocus);
  });
  if (rows().length && pointed()) point(pointed(), false);
  if (location.hash === "#measures") goTo("measures");

  // Clocks.
  const text = (seconds) => {
    const s = Math.abs(seconds);
    const two = (n) => String(n).padStart(2, "0");
    return `${Math.floor(s / 60)}:${two(s % 60)}`;
  };
  const shown = new WeakMap();
  setInterval(() => {
    for (const clock of document.querySelectorAll("[data-left]")) {
      if (!shown.has(clock)) shown.set(clock, performance.now());
      const left = Number(clock.dataset.left) - Math.floor((performance.now() - shown.get(clock)) / 1000);
      clock.querySelector(".left").textContent =
        left < 0 ? `${clock.dataset.out} ${text(left)}` : text(left);
      if (left < 0) clock.classList.add("out");
    }
  }, 1000);

  // The live connection.
  const live = document.querySelector(".live");
  const say = (state, words) => {
    if (!live) return;
    live.className = `live ${state}`;
    live.textContent = words;
  };
  document.addEventListener("htmx:sseOpen", () => say("on", live?.dataset.live));
  document.addEventListener("htmx:sseError", () => say("away", live?.dataset.away));
})();
