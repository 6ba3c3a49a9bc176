// Times come from the server in UTC; here they become the reader's. Without this script they stay in UTC, and say so.
// What is typed into a [data-moment] field is the reader's, too, and goes to the server in UTC: an address means the same to all.
window.modsync = (function () {
  "use strict";
  var TYPED = /^(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d))?)?$/;
  var zone = Intl.DateTimeFormat().resolvedOptions().timeZone || "local time";

  function two(number) { return String(number).padStart(2, "0"); }

  function clock(moment) { return [moment.getHours(), moment.getMinutes(), moment.getSeconds()].map(two).join(":"); }

  function text(moment, form) {
    if (form === "clock") { return clock(moment); }
    return moment.getFullYear() + "-" + two(moment.getMonth() + 1) + "-" + two(moment.getDate()) + " " + clock(moment);
  }

  function localize(root) {
    root.querySelectorAll("time[datetime]").forEach(function (element) {
      var moment = new Date(element.dateTime);
      if (isNaN(moment)) { return; }
      element.textContent = text(moment, element.dataset.form);
      element.title = element.dateTime;
    });
  }

  // A date or time without a zone as the server's; ages, times with a zone, and what is none stay as they are.
  function sent(value) {
    var part = TYPED.exec(value.trim());
    if (!part) { return value; }
    var moment = new Date(part[1], part[2] - 1, part[3], part[4] || 0, part[5] || 0, part[6] || 0);
    var same = moment.getMonth() === part[2] - 1 && moment.getDate() === Number(part[3]) && moment.getHours() === Number(part[4] || 0);
    return same ? moment.toISOString() : value;
  }

  function fields() {
    document.querySelectorAll("input[data-moment]").forEach(function (field) {
      var moment = new Date(field.value);
      if (/\dT.*(Z|[+-]\d\d:\d\d)$/.test(field.value) && !isNaN(moment)) { field.value = text(moment); }
      field.form.addEventListener("formdata", function (event) { event.formData.set(field.name, sent(field.value)); });
    });
    document.querySelectorAll("[data-zone]").forEach(function (place) { place.textContent = "(your time)"; });
  }

  function start() {
    localize(document);
    fields();
    var place = document.getElementById("zone");
    if (place) { place.textContent = "your time zone (" + zone + ")"; }
  }

  return { localize: localize, start: start };
})();
