// The search of the manual, and the buttons that copy code. The pages can be
// read without this.
(function () {
  "use strict";
  var page = document.documentElement, texts = document.body.dataset;

  function add(parent, name, properties) {
    return parent.appendChild(
      Object.assign(document.createElement(name), properties));
  }

  // Browsers load a script from a file, but no data.
  function loadIndex(then) {
    if (window.dbutilsIndex) { then(); return; }
    add(document.head, "script", {
      src: page.dataset.root + page.dataset.index, onload: then });
  }

  // The words of all sections of a page, by its path.
  function pagesOf(index) {
    return index.reduce(function (pages, entry) {
      var path = entry[0].split("#")[0];
      pages[path] = (pages[path] || "") + " " + entry[1].toLowerCase() +
        " " + entry[2];
      return pages;
    }, {});
  }

  // A word counts most in a title, more at its beginning, then as a name that
  // the section explains, and least if only another section of the page has it.
  function score(entry, words, whole) {
    var title = " " + entry[1].toLowerCase(), text = " " + entry[2];
    var names = entry[3].split(" ");
    var points = words.map(function (word) {
      return (title.includes(" " + word) ? 20 : 0) +
        (title.includes(word) ? 10 : 0) +
        (names.includes(word) ? 15 : 0) +
        (text.includes(" " + word) ? 2 : 0) + (text.includes(word) ? 1 : 0);
    });
    var isHere = points.some(Boolean), isPage = !entry[0].includes("#");
    var isWhole = points.every(function (number, place) {
      return number || whole.includes(words[place]);
    });
    var sum = points.reduce(function (one, other) { return one + other; }, 0);
    return isHere && isWhole ? sum + (isPage ? 5 : 0) : 0;
  }

  function find(question) {
    var words = question.toLowerCase().split(/[\s"'()=,;:]+/).filter(Boolean);
    var pages = pagesOf(window.dbutilsIndex);
    return window.dbutilsIndex
      .map(function (entry) {
        return [score(entry, words, pages[entry[0].split("#")[0]]), entry];
      })
      .filter(function (found) { return found[0]; })
      .sort(function (one, other) { return other[0] - one[0]; })
      .slice(0, 20);
  }

  function show(input, list, none) {
    list.textContent = "";
    list.hidden = !input.value.trim();
    if (list.hidden) { return; }
    var found = find(input.value);
    found.forEach(function (result) {
      add(add(list, "li"), "a", {
        href: page.dataset.root + result[1][0], textContent: result[1][1],
        onclick: function () { list.hidden = true; } });
    });
    if (!found.length) { add(list, "li", { textContent: none }); }
  }

  function addSearch(place) {
    var label = place.dataset.label, input = add(place, "input", {
      type: "search", placeholder: label, ariaLabel: label,
      autocomplete: "off" });
    var list = add(place, "ul", { hidden: true });
    list.setAttribute("aria-live", "polite");
    input.oninput = function () {
      loadIndex(function () { show(input, list, place.dataset.none); });
    };
    document.addEventListener("keydown", function (event) {
      if (event.key === "Escape") { list.hidden = true; }
      if (event.key === "/" && !/INPUT|TEXTAREA/.test(event.target.tagName)) {
        event.preventDefault();
        input.focus();
      }
      if (event.key === "Enter" && event.target === input && list.firstChild) {
        list.querySelector("a") && list.querySelector("a").click();
      }
    });
    document.addEventListener("click", function (event) {
      if (!place.contains(event.target)) { list.hidden = true; }
    });
  }

  // Browsers forbid the newer way to pages that are files.
  function copyOldWay(text) {
    var area = add(document.body, "textarea", { value: text });
    area.select();
    document.execCommand("copy");
    area.remove();
  }

  function copy(text) {
    if (!navigator.clipboard) { copyOldWay(text); return Promise.resolve(); }
    return navigator.clipboard.writeText(text).catch(function () {
      copyOldWay(text);
    });
  }

  function addButton(block) {
    var box = document.createElement("div"), text = block.textContent;
    box.className = "code-box";
    block.replaceWith(box);
    box.append(block);
    add(box, "button", {
      type: "button", textContent: texts.copy,
      onclick: function (event) {
        copy(text).then(function () {
          event.target.textContent = texts.copied;
          setTimeout(function () {
            event.target.textContent = texts.copy;
          }, 2000);
        });
      } });
  }

  // The navigation is longer than the window: show where this page is in it.
  function showPlace(list) {
    var here = list.querySelector("[aria-current]");
    if (here && getComputedStyle(list).position === "sticky") {
      list.scrollTop = here.offsetTop - list.clientHeight / 3;
    }
  }

  // Links to chapters of the manual on one page lead to their present pages.
  function goOn() {
    var item = document.getElementById(
      decodeURIComponent(location.hash.slice(1)));
    var link = item && item.closest(".moved") && item.querySelector("a");
    if (link) { location.replace(link.href); }
  }

  function sizeOf(processors, processes, limit, others) {
    return Math.max(1, Math.min(
      Math.floor((2 * processors + 1) / processes),
      Math.floor((limit - others - Math.ceil(limit / 5)) / processes)));
  }

  function calculate(form) {
    var figures = Array.from(form.querySelectorAll("input"), function (input) {
      return Math.max(+input.value || 0, +input.min);
    });
    form.querySelector("output").textContent =
      "maxconnections=" + sizeOf.apply(null, figures);
  }

  function enable(form) {
    form.hidden = false;
    form.oninput = function () { calculate(form); };
    calculate(form);
  }

  goOn();
  window.addEventListener("hashchange", goOn);
  document.querySelectorAll("form.size").forEach(enable);
  document.querySelectorAll("nav.pages").forEach(showPlace);
  document.querySelectorAll(".search").forEach(addSearch);
  document.querySelectorAll("pre.code:not(.text)").forEach(addButton);
}());
