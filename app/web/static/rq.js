// The RQ dashboard's pages: asked for again and again, Requeue, and the choice of jobs. What is shown: rq_show.js.
(function () {
  "use strict";
  var board = window.modsyncBoard;
  var main = document.querySelector("main[data-page]");
  var timer = null;

  function say(id, parts, style) {
    var place = document.getElementById(id);
    place.replaceChildren.apply(place, parts);
    place.hidden = !parts.length;
    if (style) { place.className = "modsync-message " + style; }
  }

  function reason(status, body) {
    var error = body.error;
    return error ? error.message + ". " + (error.advice || "") : "The request failed (" + status + ").";
  }

  function read(answer) {
    return answer.json().catch(function () { return {}; }).then(function (body) {
      if (!answer.ok) { throw new Error(reason(answer.status, body)); }
      return body;
    });
  }

  function ask(method, address) {
    return fetch(address, { method: method, headers: { Accept: "application/json" }, cache: "no-store" }).catch(function () {
      throw new Error("modsync does not answer; what you see may be old.");
    }).then(read);
  }

  function wait() {
    clearTimeout(timer);
    timer = setTimeout(function () {
      if (document.getElementById("autorefresh-switch").checked && !document.hidden) { look(); } else { wait(); }
    }, Number(document.body.dataset.poll));
  }

  function look() {
    return ask("GET", main.dataset.source).then(function (data) {
      board[main.dataset.page](data);
      say("modsync-trouble", []);
    }, function (error) { say("modsync-trouble", [error.message]); }).then(wait);
  }

  function replayed(body) {
    var name = body.job || body.run;
    say("modsync-message", ["Replayed: attempt " + body.attempt + ", job ", board.make("a", { href: "/runs/" + name }, [name])], "alert-success");
  }

  function requeue(button) {
    button.disabled = true;
    ask("POST", document.body.dataset.jobs + encodeURIComponent(button.dataset.requeue) + "/requeue").then(replayed, function (error) {
      say("modsync-message", [error.message], "alert-danger");
    }).then(function () {
      button.disabled = false;
      return look();
    });
  }

  function choose(form) {
    if (!form.reportValidity()) { return; }
    var chosen = new FormData(form);
    var parts = ["queue", "registry", "size", "order"].map(function (name) { return encodeURIComponent(chosen.get(name)); });
    location.assign(document.body.dataset.view + "jobs/" + parts.join("/") + "/1");
  }

  document.addEventListener("click", function (event) {
    var button = event.target.closest("button[data-requeue]");
    if (button) { requeue(button); }
  });
  document.addEventListener("change", function (event) { if (event.target.form) { choose(event.target.form); } });
  document.addEventListener("submit", function (event) {
    event.preventDefault();
    choose(event.target);
  });
  look();
})();
