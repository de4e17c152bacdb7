// Projections: every tile shows one frame of its sheet; one clock moves all of them.
(() => {
  "use strict";
  const tiles = [...document.querySelectorAll(".frame[data-frames]")];
  const slider = document.getElementById("gallery-time");
  if (!tiles.length || !slider) return;
  const told = document.getElementById("gallery-told");
  const button = document.getElementById("gallery-play");
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const last = Number(slider.max);
  let at = 0, playing = false, seen = true, before = 0;

  function show(step) {
    at = step;
    slider.value = String(step);
    for (const tile of tiles) {
      const frames = Number(tile.dataset.frames), columns = Number(tile.dataset.columns);
      // Shorter sequences keep step with the longest one.
      const k = last ? Math.round(step / last * (frames - 1)) : 0;
      const rows = Number(tile.dataset.rows);
      tile.firstElementChild.style.transform =
        `translate(${-100 * (k % columns) / columns}%, ${-100 * Math.floor(k / columns) / rows}%)`;
    }
    const texts = JSON.parse(slider.dataset.told);
    told.textContent = texts[step];
    slider.setAttribute("aria-valuetext", texts[step]);
  }
  function play(on) {
    const was = playing;
    playing = on;
    button.textContent = on ? "Pause" : "Play";
    button.setAttribute("aria-label", on ? "Pause the projections" : "Play the projections");
    if (on && !was) requestAnimationFrame(tick);
  }
  function tick(now) {
    if (!playing) return;
    if (seen && now - before > 110) {
      before = now;
      show(at >= last ? 0 : at + 1);
    }
    requestAnimationFrame(tick);
  }
  slider.addEventListener("input", () => { play(false); show(Number(slider.value)); });
  button.addEventListener("click", () => play(!playing));
  for (const choice of document.querySelectorAll("button[data-show]")) {
    choice.addEventListener("click", () => {
      for (const other of document.querySelectorAll("button[data-show]"))
        other.setAttribute("aria-pressed", String(other === choice));
      for (const tile of document.querySelectorAll(".tile"))
        tile.hidden = choice.dataset.show !== "both" && tile.dataset.kind !== choice.dataset.show;
    });
  }
  new IntersectionObserver((entries) => { seen = entries.some((e) => e.isIntersecting); })
    .observe(document.querySelector(".gallery"));
  show(0);
  play(!calm && last > 0);
})();
