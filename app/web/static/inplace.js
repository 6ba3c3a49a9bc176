// A form with data-inplace="ID" is answered where it stands: of the answer's page, the element with this id takes the old one's
// place. Without this script the browser shows the whole page.
(function () {
  "use strict";
  var said = document.getElementById("said");

  function box(text) {
    var made = document.createElement("p");
    made.className = "box bad";
    made.setAttribute("role", "alert");
    made.textContent = text;
    return made;
  }

  // An error's page says what is wrong and what to do.
  function words(page, status) {
    var main = page.getElementById("main");
    var parts = main ? Array.from(main.querySelectorAll("h1, h1 + p")) : [];
    return parts.map(function (part) { return part.textContent.trim(); }).join(". ") || "The answer was " + status;
  }

  function forget(form) {
    var old = form.parentElement.querySelector(":scope > p.box[role=alert]");
    if (old) { old.remove(); }
  }

  function complain(form, text) {
    forget(form);
    form.before(box(text));
  }

  function busy(form, is) {
    var button = form.querySelector("button[type=submit]");
    form.setAttribute("aria-busy", String(is));
    button.disabled = is;
    if (is) { said.textContent = form.dataset.busy || ""; }
  }

  function exchange(form, page, status) {
    var id = form.dataset.inplace;
    var fresh = page.getElementById(id);
    if (!fresh) { complain(form, words(page, status)); return; }
    var button = form.contains(document.activeElement);
    forget(form);
    window.modsync.localize(fresh);
    document.getElementById(id).replaceWith(document.adoptNode(fresh));
    said.textContent = fresh.querySelector("p") ? fresh.querySelector("p").textContent.trim() : "";
    var next = button && fresh.querySelector("button");
    if (next) { next.focus({ preventScroll: true }); }
  }

  function send(form) {
    var asked = new URLSearchParams(new FormData(form));
    busy(form, true);
    fetch(form.action, { method: "POST", body: asked, headers: { Accept: "text/html" }, redirect: "manual", cache: "no-store" }).then(function (answer) {
      return answer.text().then(function (text) {
        busy(form, false);
        exchange(form, new DOMParser().parseFromString(text, "text/html"), answer.status);
      });
    }).catch(function () {
      busy(form, false);
      complain(form, "There was no answer. It may be under way still: load the page again, and look.");
    });
  }

  document.addEventListener("submit", function (event) {
    if (!event.target.matches("form[data-inplace]")) { return; }
    event.preventDefault();
    send(event.target);
  });
})();
