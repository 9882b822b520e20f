// The patient's own page: one question at a time, and what was written without a network is kept and sent later.
"use strict";
document.documentElement.classList.add("scripted");

const body = document.body;
const mine = body.dataset.access || "";
const KEPT = "tocsin-kept", OFFSET = "tocsin-offset", SENT = "tocsin-sent";

const store = {
  get(key) { try { return JSON.parse(localStorage.getItem(key)); } catch { return null; } },
  set(key, value) { try { localStorage.setItem(key, JSON.stringify(value)); return true; } catch { return false; } },
};

// The phone's clock may be wrong: what counts is how far it is from the service's, learned whenever a page comes.
const offline = Boolean(document.querySelector("[data-offline]"));
if (!offline && mine) store.set(OFFSET, { server: Number(body.dataset.now), here: Date.now(), speed: Number(body.dataset.speed) });
function moment() {
  const known = store.get(OFFSET);
  if (!known) return "";
  return String(Math.round(known.server + (Date.now() - known.here) * 1000 * known.speed));
}
function token() {
  const bytes = crypto.getRandomValues(new Uint8Array(9));
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_");
}
function filled(text, values) {
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? values[name] : whole));
}
function make(tag, options, text) {
  const made = Object.assign(document.createElement(tag), options);
  if (text !== undefined) made.textContent = text;
  return made;
}

// --- questions ----------------------------------------------------------------------------------------------
function ask(form) {
  const said = form.dataset;
  const all = [...form.querySelectorAll(".step")];
  const go = form.querySelector(".go"), next = form.querySelector("#go");
  const back = make("button", { type: "button", className: "big back" }, said.back);
  const progress = make("p", { className: "progress" });
  const devices = form.querySelector("[data-devices]");
  // devices are asked for once; who has none is not asked again, and who has one is asked for its numbers
  const steps = all.filter((each) => each !== devices || devices.dataset.devices !== "none" || each.querySelector("[aria-invalid]"));
  const hidden = all.filter((each) => !steps.includes(each));
  form.prepend(progress);
  let at = 0;

  const danger = () => steps[0].querySelector("input:checked") !== null;
  const last = () => at === steps.length - 1 || (at === 0 && danger());
  const none = (step) => !step.querySelector("input:checked, input[type=hidden]");

  function label() {
    let text = said.next;
    if (at === 0) text = danger() ? said.help : said.none;
    else if (at === steps.length - 1) text = said.done;
    else if (steps[at].id === "q-new" && none(steps[at])) text = said.nothing;
    next.textContent = text;
    next.classList.toggle("red", at === 0 && danger());
    next.classList.toggle("blue", !(at === 0 && danger()));
  }
  function show(number, focus) {
    at = Math.max(0, Math.min(number, steps.length - 1));
    steps.forEach((each, place) => each.classList.toggle("on", place === at));
    progress.textContent = filled(said.step, { n: at + 1, of: steps.length });
    if (at > 0) { go.prepend(back); } else { back.remove(); }
    go.classList.toggle("two", at > 0);
    label();
    if (focus) {
      const title = steps[at].querySelector("h1");
      title.tabIndex = -1;
      title.focus({ preventScroll: true });
      scrollTo(0, 0);
    }
  }
  // the phone's own way back goes to the question before
  function turn(number) {
    history.pushState({ step: number }, "", `#${steps[number].id}`);
    show(number, true);
  }
  addEventListener("popstate", (event) => show((event.state && event.state.step) || 0, true));
  back.addEventListener("click", () => { if (history.state && history.state.step) history.back(); else show(at - 1, true); });

  function fault(field, text) {
    const id = `fault-${field.name}`;
    let told = document.getElementById(id);
    if (!told) {
      told = make("p", { className: "fault", id });
      const group = field.type === "radio" ? field.closest(".units, [role=radiogroup]") : field;
      (group.closest(".degrees") || group).after(told);
    }
    told.setAttribute("role", "alert");
    told.textContent = text;
    field.setAttribute("aria-invalid", "true");
    field.setAttribute("aria-describedby", id);
  }
  function clear(step) {
    step.querySelectorAll(".fault").forEach((each) => each.remove());
    step.querySelectorAll(".fix").forEach((each) => each.remove());
    step.querySelectorAll("[aria-invalid]").forEach((each) => { each.removeAttribute("aria-invalid"); each.removeAttribute("aria-describedby"); });
  }
  const temperature = form.elements.temperature, also = form.querySelector("#also");
  const units = [...form.querySelectorAll("[name=unit]")].filter((each) => each.type === "radio");
  const number = (text) => (/^\d{1,3}([.,]\d{1,2})?$/.test(text.trim()) ? Number(text.trim().replace(",", ".")) : NaN);
  const fits = (value, field) => value >= Number(field.dataset.low) && value <= Number(field.dataset.high);
  const chosen = () => units.find((each) => each.checked);

  // the same questions as the service asks, so that they can be asked without a network too
  function right(step) {
    clear(step);
    if (step.id === "q-temperature" && temperature.value.trim()) {
      const value = number(temperature.value), unit = chosen();
      if (Number.isNaN(value)) fault(temperature, said.wrongNumber);
      else if (!unit) fault(units[0], said.wrongUnit);
      else if (!fits(value, unit)) {
        const other = units.find((each) => each !== unit && fits(value, each));
        const fill = { value: temperature.value.trim(), unit: unit.dataset.sign, low: unit.dataset.low, high: unit.dataset.high, other: other && other.dataset.sign };
        fault(temperature, filled(other ? said.wrongOther : said.wrongTemperature, fill));
        if (other) {
          const fix = make("button", { type: "button", className: "way fix" }, filled(said.wrongYes, fill));
          fix.addEventListener("click", () => { other.checked = true; clear(step); both(); next.focus(); });
          document.getElementById("fault-temperature").after(fix);
        }
      }
    }
    step.querySelectorAll("input.number[data-low]").forEach((field) => {
      if (!field.value.trim() || field.closest(".fields:not(.open)")) return;
      const value = number(field.value);
      if (Number.isNaN(value)) fault(field, said.wrongNumber);
      else if (!fits(value, field)) fault(field, filled(said.wrongRange, { value: field.value.trim(), low: field.dataset.low, high: field.dataset.high }));
    });
    const top = form.elements["cuff-systolic-bp"], bottom = form.elements["cuff-diastolic-bp"];
    if (step === devices && number(bottom.value) >= number(top.value)) fault(bottom, said.wrongPressure);
    if (step.id === "q-medicine" && step.querySelector("[name=medicine]:checked") && !step.querySelector("[name=taken]:checked:not([value=none])")) {
      fault(step.querySelector("[name=taken]"), said.wrongTaken);
    }
    const clock = form.elements.clock;
    if (step.id === "q-words" && !step.querySelector("[value=now]").checked && !clock.value) fault(clock, said.wrongTime);
    const wrong = step.querySelector("[aria-invalid]");
    if (wrong) wrong.focus();
    return !wrong;
  }
  function both() {
    const value = number(temperature.value), unit = chosen();
    also.textContent = "";
    if (!unit || Number.isNaN(value) || !fits(value, unit)) return;
    const celsius = unit.value === "Cel" ? value : ((value - 32) * 5) / 9;
    const there = unit.value === "Cel" ? (celsius * 9) / 5 + 32 : celsius;
    const other = units.find((each) => each !== unit);
    also.textContent = `${value.toFixed(1)} ${unit.dataset.sign} = ${there.toFixed(1)} ${other.dataset.sign}`;
  }
  function open() {
    form.querySelector(".if-any").classList.toggle("open", form.querySelector("[name=medicine]:checked") !== null);
    form.querySelectorAll("[data-opens]").forEach((each) => form.querySelector(`#of-${each.dataset.opens}`).classList.toggle("open", each.checked));
    form.querySelector(".clock").classList.toggle("open", !form.querySelector("[name=when][value=now]").checked);
  }
  form.addEventListener("change", (event) => {
    const field = event.target;
    if (field.name === "device" && field.checked) {
      const nobody = field.value === "none";
      form.querySelectorAll("[name=device]").forEach((each) => { if ((each.value === "none") !== nobody) each.checked = false; });
    }
    if (field.name === "taken" && field.value === "none") form.querySelectorAll("[name=medicine]").forEach((each) => { each.checked = false; });
    if (field.name === "medicine" && field.checked) form.querySelector("[name=taken][value=none]").checked = false;
    if (field.name === "cannot" && field.checked) { temperature.value = ""; clear(field.closest(".step")); }
    open(); both(); label();
  });
  form.addEventListener("input", (event) => {
    if (event.target === temperature) { form.elements.cannot.checked = false; both(); }
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const fix = event.submitter && event.submitter.dataset.fix;
    if (fix) { units.forEach((each) => { each.checked = each.value === fix; }); clear(steps[at]); both(); return; }
    if (!right(steps[at])) return;
    if (!last()) { turn(at + 1); return; }
    const wrong = at === 0 ? -1 : steps.findIndex((each) => !right(each));
    if (wrong >= 0) { show(wrong, false); right(steps[wrong]); return; }
    send(form, next);
  });
  hidden.forEach((each) => each.remove());
  if (hidden.includes(devices)) {
    const link = make("button", { type: "button", className: "way fix" }, devices.dataset.change || "");
    if (link.textContent) {
      link.addEventListener("click", () => { devices.querySelector("[value=none]").checked = false; steps.splice(steps.length - 1, 0, devices); steps[steps.length - 1].before(devices); link.remove(); show(steps.indexOf(devices), true); });
      steps[steps.length - 1].append(link);
    }
  }
  // a page that the phone shows again from its memory is a new entry
  form.elements.entry.value = token();
  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
  open(); both();
  const wrong = steps.findIndex((each) => each.querySelector("[aria-invalid]"));
  const named = steps.findIndex((each) => `#${each.id}` === location.hash);
  history.replaceState({ step: 0 }, "", location.pathname);
  show(wrong >= 0 ? wrong : named > 0 ? 0 : 0, wrong >= 0);
}

// --- sending, and keeping what could not be sent ------------------------------------------------------------
async function send(form, button) {
  const entry = { access: mine, id: form.elements.entry.value, fields: [] };
  for (const [name, value] of new FormData(form)) if (typeof value === "string" && value && name !== "csrf") entry.fields.push([name, value]);
  entry.fields.push(["at", moment()]);
  button.disabled = true;
  let answer = null;
  try { answer = await post(entry, form.elements.csrf.value); } catch { answer = null; }
  button.disabled = false;
  if (answer && answer.ok && answer.redirected) { location.assign(answer.url); return; }
  if (answer && answer.status === 422) { again(await answer.text()); return; }
  keep(entry, form);
}
function post(entry, csrf) {
  const fields = new URLSearchParams(entry.fields);
  fields.set("csrf", csrf);
  const late = new AbortController();
  setTimeout(() => late.abort(), 15000);
  return fetch("/home/entry", { method: "POST", body: fields, headers: { accept: "text/html" }, signal: late.signal });
}
function again(text) {
  const page = new DOMParser().parseFromString(text, "text/html").querySelector("main");
  document.querySelector("main").replaceWith(document.adoptNode(page));
  ask(document.getElementById("entry"));
}
function keep(entry, form) {
  const all = [...(store.get(KEPT) || []).filter((each) => each.id !== entry.id), entry];
  const shown = document.getElementById(store.set(KEPT, all) ? "later" : "full");
  form.hidden = true;
  document.querySelectorAll("[data-offline]").forEach((each) => each.remove());
  shown.hidden = false;
  shown.focus();
  scrollTo(0, 0);
  count();
}
const strip = document.getElementById("kept");
function count() {
  const waiting = (store.get(KEPT) || []).filter((each) => each.access === mine);
  if (waiting.length && mine) {
    strip.classList.remove("good");
    strip.textContent = filled(strip.dataset.kept, { n: waiting.length });
    strip.hidden = false;
  } else if (!strip.classList.contains("good")) strip.hidden = true;
  return waiting;
}
let sending = false;
async function flush() {
  const waiting = count();
  if (!waiting.length || sending || !mine) return;
  sending = true;
  try {
    const asked = await fetch("/home/token", { headers: { accept: "application/json" } });
    if (asked.status === 401) { strip.textContent = strip.dataset.ended; return; }
    if (!asked.ok || asked.redirected) return;
    const known = await asked.json();
    // another patient's page was opened on this phone: what is kept is not theirs
    for (const entry of waiting.filter((each) => each.access === known.access)) {
      const answer = await post(entry, known.csrf);
      const taken = answer.ok && answer.redirected;
      if (!taken && answer.status !== 422) return;
      store.set(KEPT, (store.get(KEPT) || []).filter((each) => each.id !== entry.id));
      strip.classList.toggle("good", taken);
      strip.textContent = `${taken ? strip.dataset.sent : strip.dataset.refused} `;
      if (taken) strip.append(make("a", { href: answer.url }, strip.dataset.answer));
      strip.hidden = false;
      const later = document.getElementById("later");
      if (later && !later.hidden && taken) later.hidden = true;
    }
  } catch { /* still no network: it stays kept, and the strip says so */ } finally { sending = false; }
}
addEventListener("online", flush);
setInterval(flush, 20000);
flush();

if ("serviceWorker" in navigator && mine) navigator.serviceWorker.register("/home/worker.js", { scope: "/home" }).catch(() => {});
const entry = document.getElementById("entry");
if (entry) ask(entry);
