// The codec's page: what the reader wants to see, and what of it is shown.

import { Engine } from "./engine.js";
import { download, draw, jpegOfSize, psnr, readPicture } from "./pictures.js";

const MOST_BYTES = 40e6; // of a file that is opened
const MOST_PIXELS = 1.5e6; // of a photograph that is encoded: some seconds

const $ = (id) => document.getElementById(id);
const engine = new Engine((share) => ($("progress").value = share));
const decoded = new Map(); // what the samples' files hold, by their address

// A source is where a picture comes from: {name, title, step, original, bytes}: the name of a file, what
// the page calls it, the step of its qualities or null; functions that give its pixels or null, and the bytes of a quality.

function sampleSource({ name, title }) {
  const address = (quality) => `data/${name}_${quality}.vic`;
  return {
    name,
    title,
    sample: name,
    step: 10,
    original: async () => readPicture(await fetchBlob(`data/${name}.webp`)),
    key: address,
    bytes: async (quality) => new Uint8Array(await (await fetchBlob(address(quality))).arrayBuffer()),
  };
}

function photographSource(name, picture) {
  return {
    name,
    title: name,
    step: 1,
    original: async () => picture,
    bytes: (quality) => engine.ask("encode", { image: picture, quality }, picture.height * picture.width),
  };
}

function fileSource(name, bytes) {
  return { name, title: name, step: null, original: async () => null, bytes: async () => bytes };
}

async function fetchBlob(address) {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`${address}: expected a file of this page, got ${answer.status}`);
  return answer.blob();
}

/** The source in a file of the reader's; an Error with one sentence if there is none. */
async function sourceOf(file) {
  if (file.size > MOST_BYTES) throw new Error(`expected a file of at most ${MOST_BYTES / 1e6} MB, got more`);
  const start = await file.slice(0, 3).text();
  if (start === "VIC" || file.name.endsWith(".vic")) {
    return fileSource(file.name, new Uint8Array(await file.arrayBuffer()));
  }
  const picture = await readPicture(file, MOST_PIXELS).catch(() => {
    throw new Error("expected a .vic file or a picture that this browser reads, got another file");
  });
  if (picture.rgba.some((value, i) => i % 4 === 3 && value < 255)) {
    throw new Error("expected an opaque picture, got transparency; put it on a background first");
  }
  return photographSource(file.name, picture);
}

// One picture at a time is computed: of those that are asked for meanwhile, the last.

let shown = null; // {source, quality, bytes, picture}
let next = null;
let current = null;

async function show(source, quality) {
  next = { source, quality };
  if (current !== null) {
    if (current.source !== source) engine.stop("stopped");
    return;
  }
  while (next !== null) {
    [current, next] = [next, null];
    engine.begin();
    say("busy", `${current.source.title}, quality ${current.quality} …`);
    try {
      await present(current);
    } catch (error) {
      if (next === null) say("error", `${current.source.title}: ${error.message}`);
    }
  }
  current = null;
}

/** Decode, draw and measure. What was on the page stays there until the new picture is whole. */
async function present({ source, quality }) {
  const original = await source.original();
  const bytes = await source.bytes(quality);
  const key = source.key?.(quality);
  const found = decoded.get(key);
  const picture = found?.picture ?? (await engine.ask("decode", { data: bytes }, pixelsIn(bytes)));
  const parts = found?.parts ?? (await engine.ask("ledger", { data: bytes }, pixelsIn(bytes)));
  if (key) decoded.set(key, { picture, parts });

  shown = { source, quality: source.step === null ? picture.quality : quality, bytes, picture };
  draw($("ours"), picture);
  showLedger(parts, bytes.length);
  for (const figure of document.querySelectorAll("[data-compared]")) figure.hidden = original === null;
  $("ours-figures").textContent = figures(bytes.length, picture, original && psnr(original, picture));
  if (original !== null) {
    draw($("original"), original);
    $("original-figures").textContent = `${original.width} × ${original.height} pixels`;
    const { blob } = await jpegOfSize(original, bytes.length);
    const jpeg = await readPicture(blob);
    draw($("jpeg"), jpeg);
    const remark = blob.size > bytes.length ? ", the smallest it makes" : "";
    $("jpeg-figures").textContent = figures(blob.size, jpeg, psnr(original, jpeg)) + remark;
  }
  $("results").hidden = false;
  $("sample").value = source.sample ?? "";
  setQuality(source, shown.quality);
  const scaled = original?.scaled ? `, scaled down to ${original.width} × ${original.height}` : "";
  say("done", `${source.title}, quality ${shown.quality}: ${bytes.length.toLocaleString("en")} bytes${scaled}.`);
}

/** Pixels that a file says it has; none if it is too short to say. */
function pixelsIn(bytes) {
  if (bytes.length < 14) return 0;
  const view = new DataView(bytes.buffer, bytes.byteOffset, 14);
  return Math.min(view.getUint16(10, true) * view.getUint16(12, true), 1 << 24);
}

function figures(bytes, { height, width }, decibels) {
  const rate = `${bytes.toLocaleString("en")} bytes, ${((8 * bytes) / (height * width)).toFixed(3)} bits per pixel`;
  return decibels === null ? rate : `${rate}, ${decibels.toFixed(2)} dB`;
}

function showLedger(parts, total) {
  const share = (bytes) => `${((100 * bytes) / total).toFixed(1)} %`;
  $("bar").replaceChildren(
    ...parts.map(([name, bytes], i) => {
      const segment = element("span", "");
      segment.className = `part-${i}`;
      segment.style.flexGrow = bytes;
      segment.title = `${name}: ${share(bytes)}`;
      return segment;
    }),
  );
  $("ledger").replaceChildren(
    ...parts.map(([name, bytes], i) => {
      const swatch = element("span", "");
      swatch.className = `swatch part-${i}`;
      const head = element("th", name);
      head.scope = "row";
      head.prepend(swatch);
      const cells = [bytes.toLocaleString("en", { maximumFractionDigits: 1 }), share(bytes)].map((text) => {
        const cell = element("td", text);
        cell.className = "number";
        return cell;
      });
      const row = element("tr", "");
      row.append(head, ...cells);
      return row;
    }),
  );
}

function element(name, text) {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}

function say(state, words) {
  $("status").dataset.state = state;
  $("status").textContent = words;
  $("stop").disabled = state !== "busy";
  if (state !== "busy") $("progress").value = 0;
}

function setQuality({ step }, quality) {
  const slider = $("quality");
  slider.disabled = step === null;
  slider.step = step ?? 1;
  if (next === null) slider.value = quality;
  $("quality-shown").textContent = step === null ? `${quality}, as the file says` : slider.value;
}

async function openFile(file) {
  $("file").value = "";
  try {
    const source = await sourceOf(file);
    await show(source, Number($("quality").value));
  } catch (error) {
    say("error", `${file.name}: ${error.message}`);
  }
}

function listen(sources) {
  $("sample").addEventListener("change", () => {
    const source = sources[$("sample").value];
    const quality = Math.round(Number($("quality").value) / source.step) * source.step;
    show(source, quality);
  });
  $("quality").addEventListener("input", () => {
    $("quality-shown").textContent = $("quality").value;
    const source = (next ?? current ?? shown)?.source;
    if (source) show(source, Number($("quality").value));
  });
  $("file").addEventListener("change", () => $("file").files.length && openFile($("file").files[0]));
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("dragging");
  });
  document.addEventListener("dragleave", () => document.body.classList.remove("dragging"));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dragging");
    if (event.dataTransfer.files.length) openFile(event.dataTransfer.files[0]);
  });
  $("controls").addEventListener("submit", (event) => event.preventDefault());
  $("stop").addEventListener("click", () => engine.stop("stopped, as you wished"));
  $("save-png").addEventListener("click", () => $("ours").toBlob((blob) => download(blob, fileName("png"))));
  $("save-vic").addEventListener("click", () => download(new Blob([shown.bytes]), fileName("vic")));
}

function fileName(suffix) {
  return `${shown.source.name.replace(/\.[^.]*$/, "")}_${shown.quality}.${suffix}`;
}

async function main() {
  const { samples } = JSON.parse(await (await fetchBlob("data/samples.json")).text());
  const sources = Object.fromEntries(samples.map((sample) => [sample.name, sampleSource(sample)]));
  for (const { name, title, author } of samples) {
    const option = element("option", title);
    option.value = name;
    $("sample").append(option);
    $("credits").append(` “${title}” by ${author}.`);
  }
  listen(sources);
  await show(sources[samples[0].name], Number($("quality").value));
}

main().catch((error) => say("error", error.message));
