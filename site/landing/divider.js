// The divider of the first page: one photograph in two versions, and a line between them that mouse, touch and keys move.
const figure = document.querySelector(".compare");
const divider = figure.querySelector(".divider");
const handle = figure.querySelector("[role=slider]");
const chosen = (side) => figure.querySelector(`input[name=${side}]:checked`);

function move(percent) {
  const at = Math.round(Math.min(100, Math.max(0, percent)));
  divider.style.setProperty("--at", `${at}%`);
  handle.setAttribute("aria-valuenow", at);
  const shares = `${at} percent ${chosen("left").value}, ${100 - at} percent ${chosen("right").value}`;
  handle.setAttribute("aria-valuetext", shares);
}

function now() {
  return Number(handle.getAttribute("aria-valuenow"));
}

function show(side) {
  const { value, dataset } = chosen(side);
  const picture = divider.querySelector(`img.${side}`);
  picture.src = dataset.address;
  picture.alt = `Two spaniels look out of a wooden house: the ${side} version, ${value}`;
  const paid = figure.querySelector(`fieldset.${side} .paid`);
  const figures = [dataset.bytes, dataset.psnr].map((text) => {
    const bold = document.createElement("b");
    bold.textContent = text;
    return bold;
  });
  paid.replaceChildren(`${value}: `, figures[0], dataset.psnr ? " bytes, " : " bytes", figures[1]);
  move(now());
}

function follow(event) {
  const { left, width } = divider.getBoundingClientRect();
  move((100 * (event.clientX - left)) / width);
}

divider.addEventListener("pointerdown", (event) => {
  divider.setPointerCapture(event.pointerId);
  handle.focus({ preventScroll: true });
  event.preventDefault();
  follow(event);
});
divider.addEventListener("pointermove", (event) => {
  if (divider.hasPointerCapture(event.pointerId)) follow(event);
});

const steps = { ArrowLeft: -2, ArrowDown: -2, ArrowRight: 2, ArrowUp: 2, PageDown: -10, PageUp: 10 };
handle.addEventListener("keydown", (event) => {
  const { key } = event;
  if (!(key in steps) && key !== "Home" && key !== "End") return;
  event.preventDefault();
  move(key === "Home" ? 0 : key === "End" ? 100 : now() + steps[key]);
});

for (const side of ["left", "right"]) {
  for (const input of figure.querySelectorAll(`input[name=${side}]`)) {
    input.addEventListener("change", () => show(side));
  }
  show(side); // a browser that comes back remembers another choice
}
