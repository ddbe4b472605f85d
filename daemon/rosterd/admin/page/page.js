/* Keeps the page that the server has rendered up to date: looks again when the daemon tells of an event, and now and then.
 *
 * Nothing is rendered here. The page is fetched once more and what differs is put in place, node by node, so that focus,
 * selection and opened details stay, and a screen reader hears of live regions only what is new in them. */
"use strict";

(() => {
  const WITH_EVENTS_MS = 2000; // traffic and ages move without an event
  const WITHOUT_EVENTS_MS = 500;
  const AFTER_EVENT_MS = 30; // several come at once
  const EVENTS_AGAIN_MS = 30000; // where they were refused
  const ANSWER_WITHIN_MS = 5000;

  const page = document.getElementById("page");
  const lost = document.getElementById("lost");
  let source = null;
  let timer = null;
  let dueAt = Infinity;
  let looking = false;

  function lookIn(milliseconds) {
    const at = performance.now() + milliseconds;
    if (document.hidden || at >= dueAt) return;
    clearTimeout(timer);
    dueAt = at;
    timer = setTimeout(look, milliseconds);
  }

  async function look() {
    dueAt = Infinity;
    if (looking) return lookIn(AFTER_EVENT_MS);
    looking = true;
    const began = performance.now();
    try {
      const answer = await fetch(location.pathname, { cache: "no-store", signal: AbortSignal.timeout(ANSWER_WITHIN_MS) });
      if (!answer.ok) throw new Error(`status ${answer.status}`);
      const found = new DOMParser().parseFromString(await answer.text(), "text/html");
      const wanted = found.getElementById("page");
      if (!wanted) throw new Error("another page");
      wanted.querySelector(".live").textContent = hears() ? ", live" : ", looked at twice a second";
      document.title = found.title;
      adopt(page, wanted);
      say("");
    } catch (_) {
      say(`The daemon does not answer. This is how it was at ${page.querySelector(".asof time").textContent}.`);
    } finally {
      looking = false;
      // A page that is long in the making is asked for less often.
      const rest = 10 * (performance.now() - began);
      lookIn(Math.max(rest, hears() ? WITH_EVENTS_MS : WITHOUT_EVENTS_MS));
    }
  }

  function say(words) {
    if (lost.textContent !== words) lost.textContent = words;
    document.title = words ? `Not answering: ${document.title.replace(/^Not answering: /, "")}` : document.title;
  }

  // --- events -------------------------------------------------------------------------------------------------

  function hears() {
    return source !== null && source.readyState === EventSource.OPEN;
  }

  function listen() {
    if (source || document.hidden) return;
    source = new EventSource("v1/events");
    source.onmessage = () => lookIn(AFTER_EVENT_MS);
    source.onopen = () => lookIn(0);
    source.onerror = () => {
      lookIn(0);
      if (source && source.readyState === EventSource.CLOSED) {
        source = null;
        setTimeout(listen, EVENTS_AGAIN_MS);
      }
    };
  }

  // Nobody looks at a hidden page: it asks for nothing, and holds no connection.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      clearTimeout(timer);
      dueAt = Infinity;
      if (source) source.close();
      source = null;
    } else {
      listen();
      lookIn(0);
    }
  });

  // --- taking over what differs -------------------------------------------------------------------------------

  function adopt(here, wanted) {
    for (const { name, value } of wanted.attributes) {
      if (here.getAttribute(name) !== value) here.setAttribute(name, value);
    }
    for (const { name } of [...here.attributes]) {
      // What the reader has opened stays open, and what has just lit up goes on.
      if (!wanted.hasAttribute(name) && !["open", "data-fresh"].includes(name)) here.removeAttribute(name);
    }
    // What is gone goes first: nothing that stays has to be moved then, which would cost it focus and selection.
    const keys = new Set([...wanted.children].map(keyOf));
    for (const child of [...here.children]) {
      if (!keys.has(keyOf(child)) && keyOf(child) !== null) child.remove();
    }
    let at = here.firstChild;
    for (const child of [...wanted.childNodes]) {
      const found = match(at, child);
      if (!found) {
        here.insertBefore(fresh(document.importNode(child, true)), at);
        continue;
      }
      if (found === at) at = at.nextSibling;
      else here.insertBefore(found, at);
      if (found.nodeType !== Node.ELEMENT_NODE) {
        if (found.data !== child.data) found.data = child.data;
      } else adopt(found, child);
    }
    while (at) {
      const next = at.nextSibling;
      at.remove();
      at = next;
    }
  }

  function match(at, child) {
    const key = keyOf(child);
    if (key === null) return at && at.nodeName === child.nodeName && keyOf(at) === null ? at : null;
    for (let node = at; node; node = node.nextSibling) {
      if (node.nodeName === child.nodeName && keyOf(node) === key) return node;
    }
    return null;
  }

  function keyOf(node) {
    return node.nodeType === Node.ELEMENT_NODE ? node.getAttribute("data-key") : null;
  }

  function fresh(node) {
    if (keyOf(node) !== null) {
      node.setAttribute("data-fresh", "");
      node.addEventListener("animationend", () => node.removeAttribute("data-fresh"), { once: true });
    }
    return node;
  }

  listen();
  lookIn(0);
})();
