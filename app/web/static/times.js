// Times come from the server in UTC; here they become the reader's. Without this script they stay in UTC, and say so.
window.modsync = (function () {
  "use strict";
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

  function start() {
    localize(document);
    var place = document.getElementById("zone");
    if (place) { place.textContent = "your time zone (" + zone + ")"; }
  }

  return { localize: localize, start: start };
})();
