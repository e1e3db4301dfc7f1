"use strict";
// Keys press the buttons that stand in the page; everything works without this file, but for the clock and the pictures.
const all = (what, within = document) => [...within.querySelectorAll(what)];
const one = (what, within = document) => within.querySelector(what);

// -- the link: its token leaves the address before anything else is asked for
const enter = one("#enter");
if (enter && location.hash.length > 1) {
  one("#token").value = location.hash.slice(1);
  history.replaceState(null, "", "/");
  enter.submit();
} else if (location.hash.length > 1) {
  history.replaceState(null, "", "/");
}

// -- the clock counts while the page is looked at; what it counted is kept in the browser, for when the page is shut
const clock = one("#clock");
let spent = clock ? Number(clock.dataset.spent) : 0;
let last = performance.now();
let looked = !document.hidden;
let sent = false;
const limit = clock && clock.dataset.limit ? Number(clock.dataset.limit) : 0;
const shown = clock && one("form.verdict input[name=case]").value;
function counted() {
  try {
    const kept = JSON.parse(localStorage.getItem("clock"));
    return kept && kept.shown === shown ? kept.spent : null;
  } catch { return null; }  // a browser may keep nothing
}
if (clock) {
  const kept = counted();
  if (kept !== null) spent = Math.min(spent, kept);
  else if (limit && spent >= limit) { sent = true; location.replace("/?alone=1"); }  // it ran out where nobody looked
}
function tick() {
  const now = performance.now();
  if (looked) spent += (now - last) / 1000;
  looked = !document.hidden;
  last = now;
  try { localStorage.setItem("clock", JSON.stringify({ shown, spent })); } catch { /* the desk's count will do */ }
  const told = Math.max(0, Math.floor(limit ? limit - spent : spent));
  clock.textContent = `${Math.floor(told / 60)}:${String(told % 60).padStart(2, "0")}`;
  clock.classList.toggle("late", limit > 0 && told < 10);
  if (limit && spent >= limit) {
    const abstain = one('form[data-kind="abstention"] button');
    if (abstain && !sent) { abstain.value = "out of time"; abstain.click(); }
  }
}
if (clock && !sent) { tick(); setInterval(tick, 250); document.addEventListener("visibilitychange", tick); }
for (const form of all("form.verdict")) {
  form.addEventListener("submit", (event) => {
    if (sent) { event.preventDefault(); return; }
    sent = true;
    if (clock) tick();
    form.elements.seconds.value = spent.toFixed(3);
  });
}
addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });

// -- exhibits are fetched when they are opened, so that none is read that was not recorded
for (const exhibit of all("details.exhibit")) {
  exhibit.addEventListener("toggle", async () => {
    const form = one("form.opening", exhibit);
    if (!exhibit.open || !form) return;
    const answer = await fetch("/open", {
      method: "POST", headers: { "x-part": "1" }, body: new URLSearchParams(new FormData(form)),
    });
    if (!answer.ok) { location.reload(); return; }
    const part = new DOMParser().parseFromString(await answer.text(), "text/html");
    form.replaceWith(...part.body.children);
    play(exhibit);
    numberAsking();
  });
}

// -- what a helper's own helpers say is asked for on demand
function numberAsking() {
  all("form.asking button").forEach((button, i) => {
    let key = one("kbd", button);
    if (!key) { button.prepend(key = document.createElement("kbd"), " "); }
    key.textContent = `A ${i + 1}`;
  });
}
numberAsking();
addEventListener("submit", async (event) => {
  const form = event.target.closest("form.asking");
  if (!form) return;
  event.preventDefault();
  const button = one("button", form);
  if (button.disabled) return;
  const body = new URLSearchParams(new FormData(form));
  button.disabled = true;
  const answer = await fetch("/ask", { method: "POST", headers: { "x-part": "1" }, body });
  if (!answer.ok && answer.status !== 422) { location.reload(); return; }
  const part = new DOMParser().parseFromString(await answer.text(), "text/html");
  const place = form.parentElement;
  form.replaceWith(...part.body.children);
  play(place);
  numberAsking();
});

// -- pictures in a row play in one place
function play(within) {
  for (const row of all(".frames:not(.plays)", within)) {
    const frames = all(".frame", row);
    if (frames.length < 2) continue;
    let at = 0;
    let timer = 0;
    const show = (next) => {
      frames[at].classList.remove("now");
      at = (next + frames.length) % frames.length;
      frames[at].classList.add("now");
      where.textContent = ` ${at + 1} of ${frames.length}`;
    };
    const button = document.createElement("button");
    const where = document.createElement("small");
    button.type = "button";
    const toggle = () => {
      if (timer) { clearInterval(timer); timer = 0; }
      else timer = setInterval(() => show(at + 1), Math.max(0.05, Number(row.dataset.each)) * 1000);
      button.textContent = timer ? "Stop" : "Play";
    };
    button.addEventListener("click", toggle);
    row.prepend(button, where);
    row.classList.add("plays");
    row.step = (by) => { if (timer) toggle(); show(at + by); };
    row.toggle = toggle;
    show(0);
    toggle();
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) toggle();
  }
}
play(document);

// -- a ranking is written by keys, or by dragging its chips
for (const form of all('form[data-kind="ranking"]')) {
  const order = form.elements.order;
  const chips = one(".chips", form);
  let dragged = null;
  chips.addEventListener("dragstart", (event) => { dragged = event.target.closest("li"); });
  chips.addEventListener("dragover", (event) => {
    event.preventDefault();
    const over = event.target.closest("li");
    if (!over || over === dragged) return;
    const box = over.getBoundingClientRect();
    over[event.clientX > box.x + box.width / 2 ? "after" : "before"](dragged);
  });
  chips.addEventListener("drop", (event) => {
    event.preventDefault();
    order.value = all("li", chips).map((chip) => chip.dataset.name).join(" > ");
  });
  form.rank = (key) => {
    const chip = form.names[Number(key) - 1];
    if (key === "Backspace") order.value = order.value.trimEnd().replace(/\s*[>=]?\s*[^>=\s]*$/, "");
    else if (key === "=") { if (order.value && !/[>=]\s*$/.test(order.value)) order.value += " = "; }
    else if (chip && !order.value.split(/[>=\s]+/).includes(chip)) {
      order.value += (order.value && !/[>=]\s*$/.test(order.value) ? " > " : "") + chip;
    } else return false;
    return true;
  };
  form.names = all("li", chips).map((chip) => chip.dataset.name);
}

// -- keys
let opening = false;
let asking = false;
let active = one("form.verdict");
function nextKind() {
  const forms = all("form.verdict").filter((form) => form.dataset.kind !== "abstention");
  active = forms[(forms.indexOf(active) + 1) % forms.length];
  for (const shut of all("details.kind")) shut.open = shut.contains(active);
  const field = one("textarea, input:not([type=hidden]), select, button", active);
  if (field) field.focus();
}
function openExhibits(which) {
  for (const exhibit of all("details.exhibit")) {
    if (which === "all") exhibit.open = true;
    else if (exhibit.dataset.number === which) exhibit.open = !exhibit.open;
  }
}
addEventListener("keydown", (event) => {
  const field = event.target.closest("input:not([type=checkbox]), textarea, select");
  if (field) {
    if (event.key === "Escape") field.blur();
    // Only what is written is kept so: where the buttons are the choice, one of them has to be pressed.
    const keep = field.form && one("button[data-submit], button[data-key=Enter]", field.form);
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && keep) field.form.requestSubmit(keep);
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const done = () => event.preventDefault();
  if (opening) {
    opening = false;
    if (key === "e") { openExhibits("all"); return done(); }
    if (/^[1-9]$/.test(key)) { openExhibits(key); return done(); }
  }
  if (asking) {
    asking = false;
    const button = /^[1-9]$/.test(key) && all("form.asking button")[Number(key) - 1];
    if (button) { button.click(); return done(); }
  }
  if (key === "e") { opening = true; return done(); }
  if (key === "a" && one("form.asking")) { asking = true; return done(); }
  if (key === "k") { nextKind(); return done(); }
  if (key === "p") { for (const row of all(".plays")) row.toggle(); return done(); }
  if (key === "ArrowLeft" || key === "ArrowRight") {
    for (const row of all(".plays")) row.step(key === "ArrowRight" ? 1 : -1);
    return;
  }
  if (key === "h") { const help = one(".help"); if (help) help.open = !help.open; return done(); }
  if (active && active.rank && active.rank(key)) return done();
  if (key === "Enter" && event.target.closest("button, summary")) return;
  const named = `[data-key="${CSS.escape(key)}"]`;
  const box = active && one(`[data-toggle="${CSS.escape(key)}"]`, active);
  if (box) { box.checked = !box.checked; return done(); }
  const button = (active && one(`button${named}`, active)) || one(`.rest button${named}, #waiting button${named}`);
  if (button) { button.click(); done(); }
});
