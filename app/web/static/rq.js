// rq-dashboard writes text into its tables with <%= %>, which underscore does not escape. Here all of it is escaped.
_.templateSettings = {
  evaluate: /<%([\s\S]+?)%>/g,
  interpolate: /(.)^/g,
  escape: /<%[=-]([\s\S]+?)%>/g
};

// It also says nothing when a button's request is refused, or what became of it.
(function () {
  function show(text) {
    var place = document.getElementById("modsync-message");
    place.textContent = text;
    place.hidden = false;
  }
  $(document).ajaxError(function (_event, answer) {
    var error = answer.responseJSON && answer.responseJSON.error;
    show(error ? error.message + ". " + (error.advice || "") : "The request failed (" + answer.status + ").");
  });
  $(document).ajaxSuccess(function (_event, answer, request) {
    var body = answer.responseJSON;
    if (request.type === "POST" && body && body.job) { show("Replayed: attempt " + body.attempt + ", job " + body.job); }
  });
})();
