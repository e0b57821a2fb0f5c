/* A flame graph's hands: click (or Enter) enlarges a frame, Escape goes back; typing a regular expression into the
 * prompt of "Search" (or Ctrl-F) colours what matches and says how much of the whole it is. An address may begin
 * with both: see the end. */
"use strict";
(function () {
    var svg = document.documentElement;
    var graph = document.getElementById("frames"), frames = Array.from(graph.children);
    var width = Number(graph.dataset.width), total = Number(graph.dataset.total);
    var details = document.getElementById("details"), matched = document.getElementById("matched");
    var reset = document.getElementById("reset");

    function title(frame) { return frame.querySelector("title").textContent; }

    /* `from` and `span` of the whole are as wide as the picture. */
    function show(from, span) {
        frames.forEach(function (frame) {
            var start = Number(frame.dataset.x), len = Number(frame.dataset.w);
            var left = Math.max(start, from), right = Math.min(start + len, from + span);
            var visible = right > left;
            frame.style.display = visible ? "" : "none";
            if (!visible)
                return;
            var x = (left - from) / span * width, w = (right - left) / span * width;
            var rect = frame.querySelector("rect"), text = frame.querySelector("text");
            rect.setAttribute("x", x);
            rect.setAttribute("width", Math.max(w - 0.5, 0.3));
            text.setAttribute("x", x + 3);
            fit(text, frame.dataset.name, w);
        });
    }

    function fit(text, name, w) {
        var room = Math.floor((w - 6) / 7.3);
        text.textContent = room < 3 ? "" : name.length <= room ? name : name.slice(0, room - 1) + "…";
    }

    function zoom(frame) {
        show(Number(frame.dataset.x), Number(frame.dataset.w));
        reset.style.display = "";
        details.textContent = title(frame);
    }

    function all() {
        show(0, total);
        reset.style.display = "none";
        details.textContent = "";
    }

    /* Of nested matches the outermost counts. */
    function search(pattern) {
        var sum = 0, covered = -1, expression;
        try {
            expression = new RegExp(pattern);
        } catch (error) {
            matched.textContent = "not a regular expression";
            return;
        }
        frames.slice().sort(function (a, b) {
            return Number(a.dataset.x) - Number(b.dataset.x) || Number(b.dataset.w) - Number(a.dataset.w);
        }).forEach(function (frame) {
            var hit = pattern !== "" && expression.test(frame.dataset.name);
            frame.classList.toggle("hit", hit);
            var start = Number(frame.dataset.x);
            if (hit && start >= covered) {
                sum += Number(frame.dataset.w);
                covered = start + Number(frame.dataset.w);
            }
        });
        matched.textContent = pattern === "" ? "" : "matched: " + (sum / total * 100).toFixed(1) + " %";
    }

    function ask() {
        var pattern = prompt("Regular expression to search for", "");
        if (pattern !== null)
            search(pattern);
    }

    frames.forEach(function (frame) {
        frame.addEventListener("click", function () { zoom(frame); });
        frame.addEventListener("mouseenter", function () { details.textContent = title(frame); });
        frame.addEventListener("focus", function () { details.textContent = title(frame); });
    });
    reset.addEventListener("click", all);
    document.getElementById("search").addEventListener("click", ask);
    svg.addEventListener("keydown", function (event) {
        if (event.key === "Escape")
            all();
        else if (event.key === "Enter" && frames.indexOf(event.target) >= 0)
            zoom(event.target);
        else if (event.key === "f" && event.ctrlKey)
            ask();
        else
            return;
        event.preventDefault();
    });
    all();

    /* FILE.svg#zoom=NAME&search=EXPRESSION */
    new URLSearchParams(location.hash.slice(1)).forEach(function (value, name) {
        var frame = frames.find(function (candidate) { return candidate.dataset.name === value; });
        if (name === "zoom" && frame)
            zoom(frame);
        else if (name === "search")
            search(value);
    });
})();
