// The latents' page: sliders that move through the latent space, and the picture at the place where they stand.

import { Decoder, SIDE, klBits, sphericalInterpolation } from "./vae.js";
import { fetchArrays } from "./weights.js";

const ACTIVE = 0.1; // bits: a latent that costs less says next to nothing (`vae.active_units`)
const REACH = 3; // standard deviations of the prior

const $ = (id) => document.getElementById(id);

function example(arrays, number) {
  const of = (name, length) => arrays.get(`examples.${name}`).values.subarray(number * length, (number + 1) * length);
  const mean = of("mean", arrays.get("bits").values.length);
  return { image: of("images", SIDE * SIDE), mean, bits: klBits(mean, of("log_std", mean.length)) };
}

function drawGrey(canvas, levels) {
  const rgba = new Uint8ClampedArray(4 * levels.length);
  levels.forEach((level, i) => rgba.set([level, level, level, 255], 4 * i));
  canvas.getContext("2d").putImageData(new ImageData(rgba, SIDE, SIDE), 0, 0);
}

const total = (bits) => bits.reduce((sum, value) => sum + value, 0);

/** A row of the list: name and bits, the bar, and the slider of one latent. */
function latentRow(latent, bits, most) {
  const row = document.createElement("div");
  row.className = "latent";
  row.innerHTML = `
    <label for="z${latent}">z<sub>${latent}</sub></label>
    <span class="bits">${bits.toFixed(2)} bits</span>
    <span class="track" aria-hidden="true"><span class="fill"></span><span class="mark"></span></span>
    <input id="z${latent}" type="range" min="${-REACH}" max="${REACH}" step="0.05" value="0">
    <output for="z${latent}">0.00</output>`;
  row.querySelector(".fill").style.width = `${(100 * bits) / most}%`;
  return row;
}

async function main() {
  const arrays = await fetchArrays("data/latents.safetensors");
  const decoder = new Decoder(arrays);
  const bits = arrays.get("bits").values;
  const z = new Float64Array(bits.length);
  const chosen = {};

  const order = [...bits.keys()].sort((a, b) => bits[b] - bits[a]);
  const most = 1.6 * bits[order[0]]; // one image may spend more than all do in the mean
  const rows = [];
  for (const latent of order) {
    rows[latent] = latentRow(latent, bits[latent], most);
    (bits[latent] > ACTIVE ? $("most") : $("rest")).append(rows[latent]);
    rows[latent].querySelector("input").addEventListener("input", (event) => {
      z[latent] = Number(event.target.value);
      show();
    });
  }
  const all = total(bits);
  const idle = bits.filter((value) => value <= ACTIVE);
  const others = `The other ${idle.length}, together ${total(idle).toFixed(2)} of ${all.toFixed(1)} bits`;
  document.querySelector("#others summary").textContent = others;

  /** Decode z where the sliders show it, once for each picture of the screen. */
  let waiting = false;
  function show() {
    rows.forEach((row, latent) => {
      const slider = row.querySelector("input");
      slider.value = z[latent];
      row.querySelector("output").textContent = z[latent].toFixed(2);
    });
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      drawGrey($("decoded"), decoder.meanImage(z));
    });
  }

  function say(words) {
    $("status").dataset.state = "done";
    $("status").textContent = words;
  }

  function choose(which) {
    chosen[which] = example(arrays, $(which).selectedIndex);
    drawGrey($(`image-${which}`), chosen[which].image);
    $(`bits-${which}`).textContent = `${total(chosen[which].bits).toFixed(1)} bits for its latents`;
    if (which === "first") {
      const place = (latent) => `${Math.min(100, (100 * chosen.first.bits[latent]) / most)}%`;
      rows.forEach((row, latent) => (row.querySelector(".mark").style.left = place(latent)));
    }
  }

  function interpolate() {
    const share = Number($("between").value) / 100;
    z.set(sphericalInterpolation(chosen.first.mean, chosen.second.mean, share));
    $("between-shown").textContent = `${$("between").value} %`;
    show();
  }

  JSON.parse(arrays.about.examples).forEach((title) => {
    for (const which of ["first", "second"]) $(which).append(new Option(title));
  });
  $("first").selectedIndex = 2;
  $("second").selectedIndex = $("second").length - 2;
  for (const which of ["first", "second"]) {
    choose(which);
    $(which).addEventListener("change", () => {
      choose(which);
      interpolate();
      say(`The ${which} image is ${$(which).value}: ${total(chosen[which].bits).toFixed(1)} bits for its latents.`);
    });
  }
  $("between").addEventListener("input", interpolate);
  $("zero").addEventListener("click", () => {
    z.fill(0);
    show();
    say("All latents are 0, the mean of the prior.");
  });
  $("draw").addEventListener("click", () => {
    z.forEach((_, latent) => (z[latent] = normal()));
    show();
    say("A picture drawn from the prior: what the model takes for clothes.");
  });
  $("controls").addEventListener("submit", (event) => event.preventDefault());
  interpolate();
  $("stage").hidden = false;
  say(`In the mean over the test images the ${bits.length} latents cost ${all.toFixed(1)} bits.`);
}

/** A draw from the standard normal, by Box and Muller. */
function normal() {
  return Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
}

main().catch((error) => {
  $("status").dataset.state = "error";
  $("status").textContent = error.message;
});
