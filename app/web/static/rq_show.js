// What the RQ dashboard's JSON says, as elements. All of it stands there as text: nothing is ever read as HTML.
window.modsyncBoard = (function () {
  "use strict";
  var STATES = ["deferred", "scheduled", "started", "finished", "failed", "canceled"];
  var UNITS = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];
  var ago = new Intl.RelativeTimeFormat("en");

  function text(value) { return value === null || value === undefined ? "" : String(value); }

  // Children are elements or texts.
  function make(name, attributes, children) {
    var made = document.createElement(name);
    Object.keys(attributes).forEach(function (key) { made.setAttribute(key, attributes[key]); });
    made.append.apply(made, children);
    return made;
  }

  function link(address, label) { return make("a", { href: address }, [text(label)]); }

  function jobAddress(id) { return document.body.dataset.view + "job/" + encodeURIComponent(id); }

  function jobLink(id, label) { return link(jobAddress(id), label || id); }

  function age(moment) {
    var seconds = (new Date(moment) - Date.now()) / 1000;
    var unit = UNITS.find(function (each) { return Math.abs(seconds) >= each[1]; }) || UNITS[3];
    return ago.format(Math.trunc(seconds / unit[1]), unit[0]);
  }

  function time(moment) { return moment ? make("time", { datetime: moment, title: moment }, [age(moment)]) : "-"; }

  function rows(id, made, none) {
    var table = document.getElementById(id);
    var columns = table.tHead.rows[0].cells.length;
    exchange(table.tBodies[0], made.length ? made : [make("tr", {}, [make("td", { colspan: columns }, [none])])]);
  }

  // What did not change stays, with the focus and the selection in it.
  function exchange(place, fresh) {
    var old = Array.from(place.children);
    fresh.forEach(function (element, index) {
      if (index >= old.length) { place.append(element); } else if (!old[index].isEqualNode(element)) { old[index].replaceWith(element); }
    });
    old.slice(fresh.length).forEach(function (element) { element.remove(); });
  }

  function count(address, number) { return make("td", { "class": "narrow" }, [link(address, number)]); }

  function queueRow(queue) {
    var counts = STATES.map(function (state) { return count(queue[state + "_url"], queue[state + "_job_registry_count"]); });
    return make("tr", {}, [make("td", {}, [text(queue.name)]), count(queue.queued_url, queue.count)].concat(counts));
  }

  function currentJob(job) {
    if (job === "idle") { return make("td", {}, [job]); }
    var more = ["Job ID: " + job.job_id, "Description: " + text(job.description), "Created at: " + text(job.created_at)];
    return make("td", { title: more.join("\n") }, [jobLink(job.job_id, job.call_string)]);
  }

  function workerRow(worker) {
    var versions = worker.version && worker.python_version ? "RQ " + worker.version + " / Python " + worker.python_version : "";
    var name = make("td", versions ? { title: versions } : {}, [text(worker.name)]);
    return make("tr", {}, [name, currentJob(worker.current_job), make("td", {}, [worker.queues.join(", ")])]);
  }

  function failure(job) {
    return [
      make("span", { "class": "end_date" }, ["Failed ", time(job.ended_at)]),
      make("pre", { "class": "exc_info" }, [text(job.exc_info)])
    ];
  }

  function requeueButton(id) {
    var attributes = { type: "button", "class": "btn btn-outline-warning btn-sm btn-block", "data-requeue": id, "aria-label": "Requeue " + id };
    return make("button", attributes, ["Requeue"]);
  }

  function jobRow(job) {
    var name = [
      make("span", { "class": "description" }, [text(job.description)]),
      make("div", { "class": "job_id" }, [jobLink(job.id)])
    ];
    return make("tr", {}, [
      make("td", {}, job.exc_info ? name.concat(failure(job)) : name),
      make("td", {}, [make("span", { "class": "creation_date" }, [time(job.created_at)])]),
      make("td", { "class": "actions narrow" }, job.exc_info ? [requeueButton(job.id)] : [])
    ]);
  }

  // Without an address it leads nowhere.
  function page(label, name, address, current) {
    var attributes = { "class": "page-link", "aria-label": name };
    if (current) { attributes["aria-current"] = "page"; }
    var inside = address ? make("a", Object.assign(attributes, { href: address }), [label]) : make("span", { "class": "page-link" }, [label]);
    return make("li", { "class": "page-item" + (current ? " active" : "") + (address ? "" : " disabled") }, [inside]);
  }

  function numbered(pages) {
    return pages.pages_in_window.map(function (each) {
      return page(text(each.number), "Page " + each.number, each.url, each.number === pages.current_page);
    });
  }

  function pagination(pages) {
    var current = pages.current_page;
    function to(target, is) { return pages.num_pages && is ? target.url : ""; }
    return [
      page("\u00ab", "First page", to(pages.first_page, current !== 1)),
      page("\u2039", "Previous page", to(pages.prev_page, pages.prev_page))
    ].concat(numbered(pages), [
      page("\u203a", "Next page", to(pages.next_page, pages.next_page)),
      page("\u00bb", "Last page", to(pages.last_page, current !== pages.num_pages))
    ]);
  }

  function put(place, words) { if (place.textContent !== words) { place.textContent = words; } }

  function putTime(place, moment) {
    place.replaceChildren(time(moment));
    if (!moment) { return; }
    var clock = make("span", {}, [make("time", { datetime: moment }, [moment])]);
    window.modsync.localize(clock);
    place.append(" / ", clock);
  }

  function dependency(id, status) {
    return make("li", {}, status === "active" ? [jobLink(id)] : [id + " (Expired)"]);
  }

  function details(job) {
    var said = Object.assign({}, job, { result: JSON.stringify(job.result, null, 2) });
    document.querySelectorAll("[data-text]").forEach(function (place) { put(place, text(said[place.dataset.text])); });
    document.querySelectorAll("[data-time]").forEach(function (place) { putTime(place, job[place.dataset.time]); });
    exchange(document.getElementById("depends-on"), (job.depends_on || []).map(function (id, index) {
      return dependency(id, job.depends_on_status[index]);
    }));
    document.querySelector("button[data-requeue]").hidden = job.status !== "failed";
  }

  return {
    make: make,
    queues: function (data) { rows("queues", data.queues.map(queueRow), "No queues."); },
    workers: function (data) { rows("workers", data.workers.map(workerRow), "No workers."); },
    jobs: function (data) {
      rows("jobs", data.jobs.map(jobRow), "No jobs.");
      exchange(document.getElementById("page-selection"), pagination(data.pagination));
    },
    job: details
  };
})();
