// Live parts: [data-live] names the address of its own inside; [data-part] elements in it are exchanged when they changed.
(function () {
  "use strict";
  var place = document.querySelector("[data-live]");
  var said = document.getElementById("said");
  var trouble = document.getElementById("trouble");
  var shown = {};
  var timer = null;

  function parts(root) { return Array.from(root.querySelectorAll("[data-part]")); }

  // What was shown is remembered as the server sent it, before its times are made the reader's.
  function remember(root) { parts(root).forEach(function (part) { shown[part.id] = part.outerHTML; }); }

  function inUse(part) {
    var at = document.activeElement;
    var selected = document.getSelection();
    var typing = part.contains(at) && /^(INPUT|SELECT|TEXTAREA)$/.test(at.tagName);
    return typing || (!selected.isCollapsed && part.contains(selected.anchorNode));
  }

  function focusedIn(part) {
    var at = document.activeElement;
    return part.contains(at) ? (at.id ? "#" + at.id : at.getAttribute("href")) : null;
  }

  function refocus(part, name) {
    if (!name) { return; }
    var found = name[0] === "#" ? part.querySelector(name) :
      Array.from(part.querySelectorAll("a")).find(function (link) { return link.getAttribute("href") === name; });
    if (found) { found.focus({ preventScroll: true }); }
  }

  // What was typed and not sent yet stays, also while the button beside it has the focus.
  function keepTyped(old, fresh) {
    old.querySelectorAll("input[id]").forEach(function (input) {
      var same = fresh.querySelector("#" + CSS.escape(input.id));
      if (same && input.value !== input.defaultValue) { same.value = input.value; }
    });
  }

  function exchange(old, fresh) {
    var focused = focusedIn(old);
    old.querySelectorAll("details[open][id]").forEach(function (details) {
      var same = fresh.querySelector("#" + details.id);
      if (same) { same.open = true; }
    });
    keepTyped(old, fresh);
    shown[old.id] = fresh.outerHTML.replace(/ open=""/g, "");
    window.modsync.localize(fresh);
    old.replaceWith(fresh);
    refocus(fresh, focused);
  }

  function apply(root) {
    var before = place.querySelector(".live");
    if (before.dataset.status !== root.dataset.status) { said.textContent = "The run is " + root.dataset.status; }
    ["again", "status", "title"].forEach(function (name) {
      if (root.dataset[name] !== undefined) { before.dataset[name] = root.dataset[name]; }
    });
    if (root.dataset.title) { document.title = root.dataset.title; }
    parts(root).forEach(function (fresh) {
      var old = document.getElementById(fresh.id);
      if (!old) { before.append(fresh); } else if (shown[fresh.id] !== fresh.outerHTML && !inUse(old)) { exchange(old, fresh); }
    });
  }

  function complain(text) {
    if (trouble.textContent !== text) { trouble.textContent = text; }
    trouble.hidden = !text;
  }

  function look() {
    var again = Number(place.querySelector(".live").dataset.again);
    clearTimeout(timer);
    if (!again || document.hidden) { return; }
    timer = setTimeout(function () {
      fetch(place.dataset.live, { headers: { Accept: "text/html" }, redirect: "manual", cache: "no-store" }).then(function (answer) {
        if (answer.type === "opaqueredirect") { complain("You are logged out. Load the page again to log in."); return null; }
        if (!answer.ok) { throw new Error(String(answer.status)); }
        return answer.text();
      }).then(function (text) {
        if (text === null) { return; }
        complain("");
        apply(new DOMParser().parseFromString(text, "text/html").querySelector(".live"));
        look();
      }).catch(function () {
        complain("modsync does not answer; what you see may be old. It is asked again by itself.");
        look();
      });
    }, again * 1000);
  }

  if (place) {
    remember(place);
    document.addEventListener("visibilitychange", look);
    look();
  }
  window.modsync.start();
})();
