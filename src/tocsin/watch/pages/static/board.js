// What a page does beyond showing itself: stays live, swaps what changed, hears keys. Without it every page still works.
(() => {
  "use strict";
  const $ = (query, within = document) => within.querySelector(query);
  const all = (query, within = document) => [...within.querySelectorAll(query)];
  const body = document.body;
  body.classList.add("scripted");

  // The service's clock, which may run faster than the computer's.
  const clock = { told: Number(body.dataset.now) / 1000, at: performance.now(), speed: Number(body.dataset.speed) || 1, offset: 0 };
  const now = () => clock.told + (performance.now() - clock.at) * clock.speed;
  const two = (n) => String(n).padStart(2, "0");
  const said = (ms, seconds) => {
    const d = new Date(ms + clock.offset);
    return `${two(d.getUTCHours())}:${two(d.getUTCMinutes())}${seconds ? ":" + two(d.getUTCSeconds()) : ""}`;
  };
  const set = (micros, text) => {
    clock.told = Number(micros) / 1000;
    clock.at = performance.now();
    const parts = (text || "").split(":").map(Number);
    if (parts.length === 3) {
      const day = 86400000, shown = (parts[0] * 3600 + parts[1] * 60 + parts[2]) * 1000;
      clock.offset = shown - (Math.floor(clock.told / 1000) * 1000 % day);
    }
  };
  const face = $("#clock");
  if (face) {
    set(body.dataset.now, face.textContent);
    setInterval(() => { face.textContent = said(now(), true); }, Math.max(100, 1000 / Math.max(1, clock.speed / 10)));
  }

  // A part of the page fetched anew; what is focused stays focused, what is open stays open.
  const swap = (place, html) => {
    const held = document.activeElement && place.contains(document.activeElement) ? document.activeElement.id : "";
    const open = new Set(all("details[open][id]", place).map((each) => each.id));
    place.innerHTML = html;
    open.forEach((id) => { const each = document.getElementById(id); if (each) each.open = true; });
    const named = $(".tip"); if (named && !$(".here")) named.hidden = true;
    if (held) { const again = document.getElementById(held); if (again) again.focus({ preventScroll: true }); }
  };
  const fetched = async (address) => {
    const answer = await fetch(address, { headers: { "X-Part": "1" }, credentials: "same-origin" });
    if (answer.redirected && answer.url.includes("/sign-in")) { location.reload(); return null; }
    if (!answer.ok) throw new Error(String(answer.status));
    return answer.text();
  };
  const say = (text) => { const place = $("#said"); if (place) { place.textContent = ""; setTimeout(() => { place.textContent = text; }, 60); } };

  // Not live: say since when. The last thing known stays on screen, and says how old it is.
  const dead = $("#dead");
  let heard = now(), lost = false;
  const alive = () => { heard = now(); if (lost) { lost = false; dead.hidden = true; dead.textContent = ""; } };
  const gone = () => { if (!lost) { lost = true; dead.textContent = `Not live since ${said(heard)}. What you see is from then. Trying again.`; dead.hidden = false; } };

  // Ward
  const rows = $("#rows");
  let known = null, sounding = false;
  const alerts = () => { const found = new Map(); all("[data-alerts]").forEach((row) => row.dataset.alerts.split(" ").filter(Boolean).forEach((id) => found.set(id, row))); return found; };
  const chime = () => {
    if (!sounding) return;
    const audio = new AudioContext(), tone = audio.createOscillator(), gain = audio.createGain();
    tone.frequency.value = 660; gain.gain.setValueAtTime(0.15, audio.currentTime); gain.gain.exponentialRampToValueAtTime(0.001, audio.currentTime + 0.7);
    tone.connect(gain).connect(audio.destination); tone.start(); tone.stop(audio.currentTime + 0.7); tone.onended = () => audio.close();
  };
  const arrived = () => {
    const present = alerts();
    if (known) {
      const fresh = [...present].filter(([id]) => !known.has(id));
      fresh.forEach(([, row]) => row.classList.add("arrived"));
      if (fresh.length) { say(fresh.map(([, row]) => row.dataset.said).join(". ")); chime(); }
    }
    known = new Set([...(known || []), ...present.keys()]);
  };
  const search = $("#search");
  const filter = () => {
    if (!search) return;
    const words = search.value.toLowerCase().trim().split(/\s+/).filter(Boolean);
    all("[data-search]").forEach((row) => row.classList.toggle("out", !words.every((word) => row.dataset.search.includes(word))));
  };
  const settle = () => {
    const board = $("#board");
    if (!board) return;
    set(board.dataset.now, board.dataset.clock);
    const counts = $("#new-counts");
    if (counts && $("#counts")) $("#counts").innerHTML = counts.innerHTML;
    if ($("#as-of")) $("#as-of").textContent = board.dataset.asOf;
    filter(); arrived();
  };
  let busy = false, again = false;
  const refresh = async () => {
    if (busy) { again = true; return; }
    busy = true;
    try {
      if (rows) { const html = await fetched("/rows" + location.search); if (html !== null) { swap(rows, html); settle(); } }
      await Promise.all(all("[data-load][data-live]").map(anew));
      if (!stream || stream.readyState === 1) alive();
    } catch { gone(); }
    busy = false;
    if (again) { again = false; soon(); }
  };
  let waiting = 0, latest = 0;
  const soon = () => {
    if (waiting) return;
    const rest = Math.max(300, 1000 - (performance.now() - latest));
    waiting = setTimeout(() => { waiting = 0; latest = performance.now(); refresh(); }, rest);
  };

  // What is costly to draw is asked for less often.
  const asked = new WeakMap(), later = new WeakSet();
  const anew = (place) => {
    const rest = Number(place.dataset.every || 0) * 1000 - (performance.now() - (asked.get(place) || -1e9));
    if (rest > 0) {
      if (!later.has(place)) { later.add(place); setTimeout(() => { later.delete(place); soon(); }, rest); }
      return null;
    }
    asked.set(place, performance.now());
    return load(place);
  };

  // Parts of the patient's page that come after it.
  const load = async (place) => {
    const theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
    const html = await fetched(place.dataset.load.replace("THEME", theme));
    if (html !== null) { swap(place, html); const wide = place.closest(".picture"); if (wide && !wide.dataset.seen) { wide.dataset.seen = "1"; wide.scrollLeft = wide.scrollWidth; } }
  };
  all("[data-load]").forEach((place) => { asked.set(place, performance.now()); load(place).catch(() => { const wait = $(".loading", place); if (wait) wait.textContent = "Could not be loaded. Reload the page."; }); });

  // The stream: the browser reconnects by itself and says where it left off.
  let stream = null;
  if (body.dataset.events && window.EventSource) {
    stream = new EventSource(body.dataset.events);
    const mine = body.dataset.ref;
    const came = (event) => {
      alive();
      if (mine) { try { const data = JSON.parse(event.data); if (data.ref && data.ref !== mine) return; } catch { /* not about one patient */ } }
      soon();
    };
    ["message", "grade", "alert", "patient", "fact", "reset"].forEach((kind) => stream.addEventListener(kind, came));
    stream.addEventListener("clock", (event) => { alive(); try { const data = JSON.parse(event.data); if (data.now) { clock.told = data.now / 1000; clock.at = performance.now(); } } catch { /* a beat is enough */ } });
    stream.onopen = () => { const was = lost; alive(); if (was) soon(); };
    stream.onerror = () => { gone(); if (stream.readyState === 2) setTimeout(() => location.reload(), 10000); };
    addEventListener("offline", gone);
    addEventListener("online", soon);
    setInterval(soon, 30000);
  }
  if (rows) { known = new Set(alerts().keys()); filter(); }

  // Menus show their choice at once; forms on the ward answer without leaving it.
  document.addEventListener("change", (event) => { const form = event.target.closest("form[data-auto]"); if (form && event.target.matches("select")) form.requestSubmit(); });
  if (search) {
    search.addEventListener("input", filter);
    search.form.addEventListener("submit", (event) => { if (document.activeElement === search && !search.value) event.preventDefault(); });
  }
  document.addEventListener("submit", async (event) => {
    const form = event.target;
    if (!form.matches("form[data-quiet]") || !rows) return;
    event.preventDefault();
    const button = $("button", form);
    button.disabled = true;
    try {
      const answer = await fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)), headers: { "X-Part": "1" }, credentials: "same-origin" });
      if (!answer.ok) throw new Error(String(answer.status));
      say(button.id.startsWith("ack") ? "Acknowledged" : "Asked for vitals");
      const row = form.closest("[id^=p-]");
      await refresh();
      if (row) { const same = document.getElementById(row.id); if (same && document.activeElement === body) same.focus({ preventScroll: true }); }
    } catch { button.disabled = false; gone(); }
  });

  // Sound only where somebody turned it on.
  const sound = $("#sound");
  if (sound && window.AudioContext) {
    const show = () => { sound.setAttribute("aria-pressed", String(sounding)); sound.textContent = sounding ? "Sound on" : "Sound off"; };
    sound.hidden = false;
    try { sounding = localStorage.getItem("tocsin-sound") === "on"; } catch { /* private window */ }
    show();
    sound.addEventListener("click", () => { sounding = !sounding; try { localStorage.setItem("tocsin-sound", sounding ? "on" : "off"); } catch { /* private window */ } show(); chime(); });
  }

  // Keys
  const keys = $("#keys"), help = $("#help");
  if (keys && help) { help.hidden = false; help.addEventListener("click", () => keys.showModal()); }
  const step = (by) => {
    const list = all("[data-search]:not(.out)");
    if (!list.length) return;
    const at = list.findIndex((row) => row.contains(document.activeElement));
    list[Math.min(list.length - 1, Math.max(0, at < 0 ? (by > 0 ? 0 : list.length - 1) : at + by))].focus();
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.target.matches("input, textarea, select");
    if (event.key === "Escape" && event.target === search) { search.value = ""; filter(); search.blur(); return; }
    if (event.key === "Enter" && event.target === search && rows) { event.preventDefault(); step(1); return; }
    if (typing || (keys && keys.open)) return;
    const row = event.target.closest && event.target.closest("[data-search]");
    if (event.key === "j") step(1);
    else if (event.key === "k") step(-1);
    else if (event.key === "/" && search) { event.preventDefault(); search.focus(); search.select(); }
    else if (event.key === "?" && keys) keys.showModal();
    else if (event.key === "Enter" && row && event.target === row) $("a.open", row).click();
    else if (event.key === "a" && row) { const button = $(".ack button", row); if (button) button.click(); }
  });

  // The picture: pointing at a mark, or stepping through them with the arrow keys, names the fact.
  const tip = document.createElement("div");
  tip.className = "tip"; tip.hidden = true;
  body.append(tip);
  const point = (mark) => {
    all(".here").forEach((each) => each.classList.remove("here"));
    if (!mark) { tip.hidden = true; return; }
    mark.classList.add("here");
    tip.textContent = mark.dataset.tip;
    tip.hidden = false;
    const box = mark.getBoundingClientRect();
    const left = Math.min(innerWidth - tip.offsetWidth - 8, Math.max(8, box.left + box.width / 2 - tip.offsetWidth / 2));
    const above = box.top - tip.offsetHeight - 8;
    tip.style.left = `${left}px`;
    tip.style.top = `${above > 4 ? above : box.bottom + 8}px`;
  };
  document.addEventListener("pointerover", (event) => { const mark = event.target.closest && event.target.closest("[data-tip]"); if (mark || !tip.hidden) point(mark); });
  document.addEventListener("focusout", (event) => { if (event.target.closest && event.target.closest(".picture")) point(null); });
  document.addEventListener("keydown", (event) => {
    const picture = event.target.closest && event.target.closest(".drawing");
    if (!picture || !["ArrowRight", "ArrowLeft", "Escape"].includes(event.key)) return;
    event.preventDefault();
    if (event.key === "Escape") { point(null); return; }
    const marks = all("[data-tip]", picture), at = marks.findIndex((mark) => mark.classList.contains("here"));
    const next = marks[Math.min(marks.length - 1, Math.max(0, at + (event.key === "ArrowRight" ? 1 : -1)))];
    point(next);
    if (next) say(next.dataset.tip);
  });

  // Which measure is added decides the fields beside it.
  document.addEventListener("change", async (event) => {
    const choice = event.target.closest("select[data-fields]");
    if (!choice) return;
    const place = choice.closest("[data-form]");
    const html = await fetched(`${choice.dataset.fields}?measure=${encodeURIComponent(choice.value)}`).catch(() => null);
    if (html !== null) { swap(place, html); const again = $("select[data-fields]", place); if (again) again.focus(); }
  });
})();
