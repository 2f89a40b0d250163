(() => {
  const panels = [...document.querySelectorAll(".language")];
  const links = [...document.querySelectorAll(".languages a")];
  if (!panels.length) return;
  const show = (id) => {
    for (const panel of panels) panel.hidden = panel.id !== id;
    for (const link of links) {
      const current = link.hash === "#" + id;
      if (current) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
      if (current) link.parentElement.scrollLeft = link.offsetLeft - 48;
    }
  };
  const fromAddress = () => {
    const id = location.hash.slice(1);
    const known = panels.some((panel) => panel.id === id);
    show(known ? id : panels[0].id);
    if (known) document.getElementById("languages").scrollIntoView();
  };
  for (const link of links) {
    link.addEventListener("click", (event) => {
      event.preventDefault();
      history.replaceState(null, "", link.hash);
      show(link.hash.slice(1));
    });
  }
  document.documentElement.classList.add("with-js");
  addEventListener("hashchange", () => {
    if (panels.some((panel) => "#" + panel.id === location.hash)) fromAddress();
  });
  fromAddress();
})();
