// Serves the questions when there is no network. It keeps one page, its style and its script: nothing of a record.
"use strict";
const CACHE = "tocsin-home-1";
const PAGE = "/home/offline", WORSE = "/home/worse";
const FILES = ["/static/home.css", "/static/home.js", "/static/bell.svg"];

async function fill() {
  const cache = await caches.open(CACHE);
  for (const name of [...FILES, PAGE, WORSE]) {
    try {
      const answer = await fetch(name, { cache: "no-store", headers: { accept: name.startsWith("/static") ? "*/*" : "text/html" } });
      if (answer.ok && !answer.redirected) await cache.put(name, answer);
      // signed out, or no longer followed: what was kept for this phone goes
      else if (answer.redirected) await cache.delete(name);
    } catch { /* no network: what is kept stays */ }
  }
}
self.addEventListener("install", (event) => event.waitUntil(fill().then(() => self.skipWaiting())));
self.addEventListener("activate", (event) => event.waitUntil((async () => {
  for (const name of await caches.keys()) if (name.startsWith("tocsin-home") && name !== CACHE) await caches.delete(name);
  await self.clients.claim();
})()));
self.addEventListener("fetch", (event) => {
  const { request } = event, path = new URL(request.url).pathname;
  if (request.method !== "GET") return;
  if (request.mode === "navigate") {
    event.respondWith((async () => {
      try {
        const answer = await fetch(request);
        if (path === "/home" || path === "/home/closed") event.waitUntil(fill());
        return answer;
      } catch (error) {
        const kept = await caches.match(path === WORSE ? WORSE : PAGE);
        if (kept) return kept;
        throw error;
      }
    })());
  } else if (FILES.includes(path)) {
    event.respondWith(fetch(request).catch(async (error) => {
      const kept = await caches.match(path);
      if (kept) return kept;
      throw error;
    }));
  }
});
