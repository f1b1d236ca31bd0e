// The encoder, image -> bytes of a `.vic` file, and what the bytes were spent on: vae_lib/codec.py, for a browser.
//
// It walks through the latent exactly as the decoder does, quantises what it finds against what is predicted, and weighs
// each bit against the error that it saves. Its floats may round otherwise than Python's, so now and then it chooses
// another symbol; both decode every file to the same symbols.

import * as decoder from "./decoder.js";
import { BLOCK, CHANNELS, CodecError, GROUPS, HEADER_SIZE, REACH, SCALES, SECTION_SIZE, SYMBOL_MAX } from "./decoder.js";
import { byScale, crc32, crop, grid } from "./numpy.js";

const PRECISION = 24; // bits: the counts of a table sum to 2^24
const [LMBDA_LOW, LMBDA_HIGH] = [0.0007, 0.35]; // of quality 0 and quality 100

/** Weights with what each symbol costs: bits[scale][size of the symbol]. */
export class CodecWeights extends decoder.Weights {
  constructor(arrays, vectors = true) {
    super(arrays, vectors);
    this.bits = this.tables.map((table) =>
      Float32Array.from({ length: SYMBOL_MAX + 1 }, (_, size) => {
        return PRECISION - Math.log2(table[SYMBOL_MAX + size + 1] - table[SYMBOL_MAX + size]);
      }),
    );
  }
}

/** Takes symbols in the order in which the decoder will read them; their bits are counted group by group. */
class Writer {
  constructor(weights) {
    this.weights = weights;
    this.runs = [];
    this.bits = [];
  }

  /** Append symbols of those scales, in the order of `decoder.read`. */
  write(symbols, scale) {
    let bits = 0;
    for (const { number, places } of byScale(scale, SCALES)) {
      const run = Int16Array.from(places, (place) => symbols[place]);
      this.runs.push([number, run]);
      for (const symbol of run) bits += this.weights.bits[number][Math.abs(symbol)];
    }
    this.bits.push(bits);
  }

  /** The bytes: written backwards, since ANS is a stack. */
  section() {
    const message = new Message();
    for (const [number, run] of this.runs.toReversed()) {
      const table = this.weights.tables[number];
      for (let i = run.length - 1; i >= 0; i--) {
        const start = table[run[i] + SYMBOL_MAX];
        message.push(start, table[run[i] + SYMBOL_MAX + 1] - start);
      }
    }
    return message.bytes();
  }
}

/** The rANS of notebook 01: a state in [2^32, 2^64), held as high * 2^32 + low, on top of 32-bit words. */
class Message {
  constructor() {
    [this.high, this.low] = [1, 0];
    this.words = [];
  }

  /** Put a symbol, which owns the slots start .. start + count - 1 of 2^24, on the message. */
  push(start, count) {
    if (this.high >= count * 2 ** (32 - PRECISION)) {
      this.words.push(this.low); // the state would pass 64 bits
      [this.high, this.low] = [0, this.high];
    }
    // Long division of the state by count, at most 2^24, in digits of 16 bits: nothing passes 2^40.
    let rest = this.high % count;
    let quotient = Math.floor(this.high / count);
    for (const digit of [Math.floor(this.low / 0x10000), this.low % 0x10000]) {
      const part = rest * 0x10000 + digit;
      quotient = quotient * 0x10000 + Math.floor(part / count);
      rest = part % count;
    }
    this.high = Math.floor(quotient / 0x100);
    this.low = (quotient % 0x100) * 2 ** PRECISION + start + rest;
  }

  bytes() {
    const bytes = new DataView(new ArrayBuffer(8 + 4 * this.words.length));
    [this.high, this.low, ...this.words.toReversed()].forEach((word, i) => bytes.setUint32(4 * i, word, true));
    return new Uint8Array(bytes.buffer);
  }
}

/** Lambda for a quality from 0 to 100, in bits per pixel per squared grey level. */
function lmbdaOf(quality) {
  return LMBDA_LOW * (LMBDA_HIGH / LMBDA_LOW) ** (quality / 100);
}

/**
 * The bytes of a `.vic` file.
 *
 * image: {height, width, rgba}, opaque; stored as grey where the three channels are equal everywhere.
 * quality: a whole number from 0 (small) to 100 (good).
 */
export function encode(image, weights, quality, report = () => {}) {
  const { height, width, rgba } = image;
  if (height * width === 0 || height * width > decoder.MAX_PIXELS || Math.max(height, width) >= 1 << 16) {
    const most = decoder.MAX_PIXELS.toLocaleString("en");
    throw new CodecError(`expected 1 to ${most} pixels, at most 65,535 a side, got ${height} x ${width}`);
  }
  let grey = true;
  for (let i = 0; grey && i < rgba.length; i += 4) grey = rgba[i] === rgba[i + 1] && rgba[i] === rgba[i + 2];
  const start = new DataView(new ArrayBuffer(HEADER_SIZE));
  [86, 73, 67, decoder.VERSION, grey ? 1 : 0, quality, ...weights.model].forEach((byte, i) => start.setUint8(i, byte));
  start.setUint16(10, height, true);
  start.setUint16(12, width, true);
  const bytes = new Uint8Array(start.buffer);
  start.setUint32(14, crc32(bytes.subarray(0, HEADER_SIZE - 4)), true);

  const pieces = [bytes];
  let checksum = crc32(bytes);
  const places = decoder.tiles(image);
  places.forEach((place, number) => {
    const told = (share) => report((number + share) / places.length);
    const latent = analyse(image, place, quality, weights);
    told(0.3);
    for (const writer of encodeTile(latent, quality, weights, (share) => told(0.3 + 0.7 * share))) {
      const content = writer.section();
      checksum = crc32(content, checksum);
      const section = new DataView(new ArrayBuffer(SECTION_SIZE));
      section.setUint32(0, content.length, true);
      section.setUint32(4, checksum, true);
      pieces.push(new Uint8Array(section.buffer), content);
    }
  });
  return concatenate(pieces);
}

function concatenate(pieces) {
  const whole = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let place = 0;
  for (const piece of pieces) {
    whole.set(piece, place);
    place += piece.length;
  }
  return whole;
}

/** The latent of a tile, a grid of Float32Array, in steps; beyond the image its last pixels are repeated. */
function analyse(image, place, quality, weights) {
  const whole = { rows: Math.ceil(image.height / BLOCK), columns: Math.ceil(image.width / BLOCK) };
  const around = decoder.widen(place, whole);
  const z = decoder.convolve(blocks(image, around), "analysis.basis", weights);
  const spread = weights.get("analysis.spread");
  const h = { ...z, values: z.values.map((value, i) => value / spread[i % CHANNELS]) };
  const correction = decoder.correct(h, quality, "analysis", weights).values;
  for (let i = 0; i < correction.length; i++) z.values[i] += REACH * correction[i];
  const inside = crop(z, { ...place, top: place.top - around.top, left: place.left - around.left });
  const steps = Float32Array.from(decoder.gain(quality, weights));
  for (let i = 0; i < inside.values.length; i++) inside.values[i] *= steps[i % CHANNELS];
  return inside;
}

/** Centred pixels of those blocks, places into channels: the inverse of `decoder.depthToSpace`. */
function blocks({ height, width, rgba }, { top, left, rows, columns }) {
  const x = grid(rows, columns, CHANNELS, Float32Array);
  for (let row = 0; row < BLOCK * rows; row++) {
    for (let column = 0; column < BLOCK * columns; column++) {
      const [y, z] = [Math.min(BLOCK * top + row, height - 1), Math.min(BLOCK * left + column, width - 1)];
      const block = Math.floor(row / BLOCK) * columns + Math.floor(column / BLOCK);
      const to = block * CHANNELS + 3 * ((row % BLOCK) * BLOCK + (column % BLOCK));
      for (let k = 0; k < 3; k++) x.values[to + k] = rgba[4 * (y * width + z) + k] - 128;
    }
  }
  return x;
}

/** Latent in steps to hyper-latent, before rounding: to a quarter of the rows and columns. */
function hyperAnalyse(y, weights) {
  let h = grid(4 * Math.ceil(y.rows / 4), 4 * Math.ceil(y.columns / 4), CHANNELS, Float32Array);
  for (let row = 0; row < y.rows; row++) {
    for (let i = 0; i < y.columns * CHANNELS; i++) {
      const value = y.values[row * y.columns * CHANNELS + i];
      h.values[row * h.columns * CHANNELS + i] = Math.sign(value) * Math.log1p(Math.abs(value));
    }
  }
  const layers = [
    ["near", 1],
    ["half", 2],
    ["quarter", 2],
  ];
  for (const [name, stride] of layers) {
    h = decoder.convolve(h, `hyper_analysis.${name}.kernel`, weights, `hyper_analysis.${name}.bias`, stride);
    if (name !== "quarter") h = { ...h, values: h.values.map((value) => Math.max(value, 0)) };
  }
  return h;
}

/**
 * The symbol that costs least: bits plus `worth` times squared error, over the nearest, the next smaller and 0.
 *
 * residual: latent minus mean, in steps. scale: number of a table. worth: bits per squared step.
 */
function quantise(residual, scale, worth, weights) {
  const size = Math.abs(residual);
  const nearest = scale > 0 ? Math.min(Math.round(size), SYMBOL_MAX) : 0;
  if (nearest === 0) return 0; // a latent that rounds to 0 stays there
  let [best, least] = [nearest, Infinity];
  for (const candidate of [nearest, nearest - 1, 0]) {
    const error = size - candidate + decoder.inward(candidate, scale, weights.get("inward")) / 32;
    const cost = weights.bits[scale][candidate] + worth * error ** 2;
    if (cost < least) [best, least] = [candidate, cost];
  }
  return residual < 0 ? -best : best;
}

/** The writers of a tile's hyper-latent and latent, from its latent in steps. */
function encodeTile(y, quality, weights, report) {
  const [hyperWriter, latentWriter] = [new Writer(weights), new Writer(weights)];
  const scale = decoder.hyperScale(y, quality, weights);
  const symbols = Float64Array.from(hyperAnalyse(y, weights).values, (value, i) =>
    scale.values[i] > 0 ? Math.min(Math.max(Math.round(value), -SYMBOL_MAX), SYMBOL_MAX) : 0,
  );
  hyperWriter.write(symbols, scale.values);
  const worth = decoder.gain(quality, weights).map((steps) => lmbdaOf(quality) / 3 / steps ** 2);
  let visited = 0;

  function visit(blocks, low, high, mean, scale) {
    const width = high - low;
    const symbols = mean.map((value, i) => {
      const channel = low + (i % width);
      const latent = y.values[blocks[Math.floor(i / width)] * CHANNELS + channel];
      return quantise(latent - value / 16, scale[i], worth[channel], weights);
    });
    latentWriter.write(symbols, scale);
    visited += symbols.length;
    report(visited / y.values.length);
    return symbols;
  }

  const features = decoder.hyperFeatures({ ...scale, values: symbols }, quality, weights);
  decoder.walk(crop(features, { top: 0, left: 0, rows: y.rows, columns: y.columns }), weights, visit);
  return [hyperWriter, latentWriter];
}

/**
 * What the bytes of a file were spent on, part by part: [[part, bytes]], which sum to the size of the file.
 *
 * The shares of the groups of channels are -log2 p of their symbols; what is left of the sections is the coder's own: a
 * state of 8 bytes in each, of which the last symbols fill about half.
 */
export function ledger(data, weights) {
  const header = decoder.readHeader(data, weights);
  const places = decoder.tiles(header);
  const contents = decoder.sections(data, 2 * places.length);
  const groupOfPass = GROUPS.flatMap(([, , passes], number) => Array(passes).fill(number));
  let hyperBits = 0;
  const bits = GROUPS.map(() => 0);
  places.forEach((size, number) => {
    const pair = contents.slice(2 * number, 2 * number + 2);
    const [hyper, latent] = pair.map((section) => new Copier(section, weights));
    const scale = decoder.hyperScale(size, header.quality, weights);
    const symbols = hyper.visit(null, 0, 0, null, scale.values);
    const features = decoder.hyperFeatures({ ...scale, values: symbols }, header.quality, weights);
    decoder.walk(crop(features, { ...size, top: 0, left: 0 }), weights, latent.visit);
    hyperBits += hyper.writer.bits[0];
    latent.writer.bits.forEach((spent, pass) => (bits[groupOfPass[pass]] += spent));
  });
  const spent = [
    ["header", HEADER_SIZE],
    ["lengths and checksums of the sections", SECTION_SIZE * contents.length],
    ["hyper-latent", hyperBits / 8],
    ...GROUPS.map(([low, high], number) => [`latent, channels ${low} to ${high - 1}`, bits[number] / 8]),
  ];
  return [...spent, ["entropy coder", data.length - spent.reduce((sum, [, bytes]) => sum + bytes, 0)]];
}

/** Visits to read, and writes what it reads, so that its bits are counted. */
class Copier {
  constructor(section, weights) {
    this.reader = new decoder.Reader(section, weights);
    this.writer = new Writer(weights);
    this.visit = (blocks, low, high, mean, scale) => {
      const symbols = decoder.read(this.reader, scale);
      this.writer.write(symbols, scale);
      return symbols;
    };
  }
}
