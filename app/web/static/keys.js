// Keyboard shortcuts. They are single keys, so people who speak to their computer can switch them off (WCAG 2.1.4).
(function () {
  "use strict";
  var dialog = document.getElementById("keys");
  var opener = document.getElementById("keys-open");
  var chosen = document.getElementById("keys-on");
  var leading = 0;
  if (!dialog || !dialog.showModal) { return; }

  function off() { try { return localStorage.getItem("modsync-keys") === "off"; } catch (_error) { return false; } }

  function keep() { try { localStorage.setItem("modsync-keys", chosen.checked ? "on" : "off"); } catch (_error) { /* private mode */ } }

  function rows() { return Array.from(document.querySelectorAll("main a.row")); }

  function move(step) {
    var all = rows();
    var at = all.indexOf(document.activeElement);
    var next = all[at < 0 ? (step > 0 ? 0 : all.length - 1) : Math.min(Math.max(at + step, 0), all.length - 1)];
    if (next) { next.focus(); }
  }

  function go(key) {
    var link = document.querySelector('nav a[data-key="' + CSS.escape(key) + '"]');
    if (link) { link.click(); }
  }

  function to(selector) {
    var found = document.querySelector(selector);
    if (found) { found.focus(); }
    return Boolean(found);
  }

  var actions = {
    "?": function () { dialog.showModal(); return true; },
    "/": function () { return to("#find"); },
    "j": function () { move(1); return true; },
    "k": function () { move(-1); return true; },
    "r": function () { return to("#replay #from"); },
    "g": function () { leading = Date.now(); return true; }
  };

  function pressed(event) {
    var typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName) || event.target.isContentEditable;
    if (typing || dialog.open || event.ctrlKey || event.metaKey || event.altKey || off()) { return; }
    if (Date.now() - leading < 1500) { leading = 0; go(event.key); event.preventDefault(); return; }
    var action = Object.hasOwn(actions, event.key) ? actions[event.key] : null;
    if (action && action()) { event.preventDefault(); }
  }

  opener.hidden = false;
  opener.addEventListener("click", function () { dialog.showModal(); });
  chosen.checked = !off();
  chosen.addEventListener("change", keep);
  document.addEventListener("keydown", pressed);
})();
