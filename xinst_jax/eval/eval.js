"use strict";
// Shows the pairs that match all filters; without a script, all are shown.
(function () {
  const pairs = Array.from(document.querySelectorAll("article.pair"));
  const choices = ["set", "lang", "opponent", "outcome"].map(function (name) {
    return { name: name, element: document.getElementById("filter-" + name) };
  });
  const disagree = document.getElementById("filter-disagree");
  const shown = document.getElementById("shown");

  function matches(pair) {
    const fits = choices.every(function (choice) {
      const value = choice.element.value;
      return value === "" || pair.dataset[choice.name] === value;
    });
    return fits && (!disagree.checked || pair.dataset.disagree === "yes");
  }

  function apply() {
    let count = 0;
    pairs.forEach(function (pair) {
      const fits = matches(pair);
      pair.hidden = !fits;
      if (fits) count += 1;
    });
    shown.textContent = count + " of " + pairs.length + " pairs";
  }

  choices.forEach(function (choice) {
    choice.element.addEventListener("change", apply);
  });
  disagree.addEventListener("change", apply);
  document.getElementById("filters").hidden = false;
  // A browser that goes back keeps what was chosen.
  apply();
})();
