// The reference decoder, bytes of a `.vic` file -> image: vae_lib/decoder.py, function by function, for a browser.
//
// A file is a header and, for each tile of the image, two sections: the hyper-latent, then the latent. Which table a
// symbol is read with is decided by arithmetic of integers, so every machine reads the same symbols. JavaScript's numbers
// are float64, where integers are exact below 2^53, as in the original; tests/library/test_codec.py shows that no sum of the
// entropy networks reaches that, whatever a file holds. Only the synthesis rounds.
// The functions stand in the order of the original, under the same names.

import { Matrices } from "./matrices.js";
import { asPython, bisect, byScale, clip, crc32, crop, grid, hex, paste, splitRows } from "./numpy.js";
import { sha256 } from "./weights.js";

const MAGIC = "VIC";
export const VERSION = 1;
export const HEADER_SIZE = 18; // magic, version, 1 if grey, quality, model, height, width, checksum of these
export const SECTION_SIZE = 8; // length of the content, checksum; the content follows
export const MAX_PIXELS = 1 << 26;
export const BLOCK = 8; // pixels a side that share a latent
export const TILE = 1024; // pixels a side; the symbols of a tile can be read without those of any other
export const HALO = 4; // blocks around a tile that its synthesis looks at

export const CHANNELS = 3 * BLOCK ** 2; // of the latent: as many as a block has numbers
export const GROUPS = [
  [0, 4, 5],
  [4, 16, 3],
  [16, 40, 2],
  [40, 88, 2],
  [88, 192, 1],
]; // channels from, to; passes over the blocks
const PASSES = [
  [0, 4, 2, 4],
  [4, 3, 4, 3],
  [2, 4, 1, 4],
  [4, 3, 4, 3],
]; // pass of each of 4x4 blocks, coarse to fine
export const SYMBOL_MAX = 511; // symbols are -511 .. 511
const ACTIVATION_MAX = 4095; // activations are 0 .. 4095, in units of 2^-8
const MEAN_MAX = 4095; // means are -4095 .. 4095, in units of 2^-4 of a step
export const SCALES = 49; // one table for each quarter octave of predicted scale; with scale 0 a symbol is 0 and not stored
export const REACH = 16; // grey levels: what an output of 1 of the correcting networks means

const MEMORY = 10 << 20; // bytes for the matrices: the weights are 7.5 MB in it
const SCRATCH = 1 << 16; // numbers in a row of a tile, for a convolution to read and to write

/** The bytes are no .vic file, a damaged one, or one of another model; the message is one line. */
export class CodecError extends Error {}

/** The bytes cannot be what the encoder wrote. */
export class CorruptMessage extends Error {}

/** The arrays of a weights file by name, {shape, values}, its tables, and its id of four bytes. */
export class Weights {
  constructor(arrays, vectors = true) {
    this.model = sha256([...arrays.keys()].sort().map((name) => arrays.get(name).bytes)).slice(0, 4);
    this.tables = splitRows(arrays.get("tables")); // tables[scale][symbol + SYMBOL_MAX]
    this.matrices = new Matrices(MEMORY, vectors);
    this.arrays = new Map();
    for (const [name, { dtype, shape, values }] of arrays) {
      if (name === "tables") continue;
      const place = this.matrices.allocate(dtype[0] === "I" ? Float64Array : Float32Array, values.length);
      place.set(values);
      this.arrays.set(name, { shape, values: place });
    }
    const scratch = [0, 1].map(() => this.matrices.allocate(Float64Array, SCRATCH));
    this.scratch64 = scratch;
    this.scratch32 = scratch.map((part) => new Float32Array(part.buffer, part.byteOffset, SCRATCH));
  }

  get(name) {
    return this.arrays.get(name).values;
  }

  shape(name) {
    return this.arrays.get(name).shape;
  }
}

/**
 * Takes symbols off a section, by the rANS of notebook 01.
 *
 * The state, an integer in [2^32, 2^64), is held as high * 2^32 + low. With high = 0 it is below 2^32.
 */
export class Reader {
  constructor(section, weights) {
    this.words = new DataView(section.buffer, section.byteOffset, section.length);
    this.high = this.words.getUint32(0, true);
    this.low = this.words.getUint32(4, true);
    this.place = 8;
    this.tables = weights.tables;
  }

  /** The next symbols, all of one scale. */
  take(scale, count) {
    const symbols = new Int16Array(count);
    for (let i = 0; i < count; i++) symbols[i] = this.pop(this.tables[scale]) - SYMBOL_MAX;
    return symbols;
  }

  /** Take one symbol off; `table` holds cumulative counts, which end at 2^24. */
  pop(table) {
    const slot = this.low & 0xffffff;
    const symbol = bisect(table, slot);
    const start = table[symbol];
    const count = table[symbol + 1] - start;
    // (state >> 24) * count + slot - start: the first factor is below 2^40, the second at most 2^24. So the first is
    // split into two of 20 bits, and every product stays below 2^44, every sum below 2^45.
    const quotient = this.high * 0x100 + (this.low >>> 24);
    const upper = Math.floor(quotient / 0x100000) * count; // in units of 2^20
    const sum = (upper % 0x1000) * 0x100000 + (quotient % 0x100000) * count + slot - start;
    this.high = Math.floor(upper / 0x1000) + Math.floor(sum / 0x100000000);
    this.low = sum % 0x100000000;
    if (this.high === 0) {
      if (this.place === this.words.byteLength) {
        throw new CorruptMessage("the message ended before its last symbol: expected another 32-bit word");
      }
      this.high = this.low;
      this.low = this.words.getUint32(this.place, true);
      this.place += 4;
    }
    return symbol;
  }

  finish() {
    if (this.high !== 1 || this.low !== 0 || this.place !== this.words.byteLength) {
      throw new CorruptMessage("expected the section to end with its last symbol, got more");
    }
  }
}

/**
 * The image in a `.vic` file: {height, width, grey, rgba}, four bytes a pixel as a canvas wants them.
 *
 * `report` is told now and then what share is done. Throws a CodecError: what is wrong with the file, or that it needs
 * other weights.
 */
export function decode(data, weights, report = () => {}) {
  const header = readHeader(data, weights);
  const latent = decodeLatent(data, header, weights, (share) => report(share / 2));
  const rgba = synthesise(latent, header, weights, (share) => report((1 + share) / 2));
  return { ...header, rgba };
}

/** The header, once its checksum and all its fields have been found good. */
export function readHeader(data, weights) {
  const magic = data.subarray(0, MAGIC.length);
  if (String.fromCharCode(...magic) !== MAGIC) {
    throw new CodecError(`expected a .vic file, which starts with b'${MAGIC}', got ${asPython(magic)}`);
  }
  if (data.length < HEADER_SIZE) {
    throw new CodecError(`truncated: expected a header of ${HEADER_SIZE} bytes, got a file of ${data.length}`);
  }
  const [version, grey, quality] = data.subarray(3, 6);
  const model = data.subarray(6, 10);
  const view = new DataView(data.buffer, data.byteOffset, HEADER_SIZE);
  const [height, width] = [view.getUint16(10, true), view.getUint16(12, true)];
  if (version !== VERSION) {
    throw new CodecError(`expected version ${VERSION} of the format, got ${version}`);
  }
  if (crc32(data.subarray(0, HEADER_SIZE - 4)) !== view.getUint32(14, true)) {
    throw new CodecError("damaged: the checksum of the header does not match");
  }
  if (grey > 1 || quality > 100 || height * width === 0 || height * width > MAX_PIXELS) {
    const expected = `expected 1 to ${MAX_PIXELS.toLocaleString("en")} pixels and a quality of 0 to 100`;
    throw new CodecError(`${expected}, got ${height} x ${width} and ${quality}`);
  }
  if (model.some((byte, i) => byte !== weights.model[i])) {
    throw new CodecError(`expected a file made with model ${hex(weights.model)}, got one made with ${hex(model)}`);
  }
  return { height, width, grey: grey === 1, quality };
}

/** The contents of all sections. Each checksum goes on from the one before, so none can be swapped or dropped. */
export function sections(data, count) {
  const view = new DataView(data.buffer, data.byteOffset, data.length);
  let place = HEADER_SIZE;
  let checksum = crc32(data.subarray(0, HEADER_SIZE));
  const contents = [];
  for (let number = 1; number <= count; number++) {
    if (data.length < place + SECTION_SIZE) {
      throw new CodecError(`truncated: expected ${count} sections, the file ends in section ${number}`);
    }
    const [length, expected] = [view.getUint32(place, true), view.getUint32(place + 4, true)];
    const content = data.subarray(place + SECTION_SIZE, place + SECTION_SIZE + length);
    const where = `section ${number} of ${count}`;
    if (content.length < length) {
      throw new CodecError(`truncated: expected ${length} bytes in ${where}, got ${content.length}`);
    }
    checksum = crc32(content, checksum);
    if (checksum !== expected) {
      throw new CodecError(`damaged: the checksum of ${where} does not match`);
    }
    if (length < 8 || length % 4 || !content.subarray(0, 4).some((byte) => byte)) {
      throw new CodecError(`damaged: ${where} does not hold whole words that start with a state`);
    }
    contents.push(content);
    place += SECTION_SIZE + length;
  }
  if (place !== data.length) {
    throw new CodecError(`expected the file to end after ${place} bytes, got ${data.length - place} more`);
  }
  return contents;
}

/** Where each tile lies, in blocks, in the order of the file: {top, left, rows, columns}. */
export function tiles({ height, width }) {
  const [rows, columns, step] = [Math.ceil(height / BLOCK), Math.ceil(width / BLOCK), TILE / BLOCK];
  const places = [];
  for (let top = 0; top < rows; top += step) {
    for (let left = 0; left < columns; left += step) {
      places.push({ top, left, rows: Math.min(step, rows - top), columns: Math.min(step, columns - left) });
    }
  }
  return places;
}

/** The latent of the whole image, a grid of Int16Array, in units of 2^-5 of a step. */
export function decodeLatent(data, header, weights, report = () => {}) {
  const places = tiles(header);
  const contents = sections(data, 2 * places.length);
  const latent = grid(Math.ceil(header.height / BLOCK), Math.ceil(header.width / BLOCK), CHANNELS, Int16Array);
  try {
    places.forEach((place, number) => {
      const readers = contents.slice(2 * number, 2 * number + 2).map((section) => new Reader(section, weights));
      const told = (share) => report((number + share) / places.length);
      paste(latent, place, decodeTile(place, header.quality, readers, weights, told));
    });
  } catch (error) {
    if (error instanceof CorruptMessage) throw new CodecError(`damaged: ${error.message}`);
    throw error;
  }
  return latent;
}

/** The latent of a tile, {rows, columns} blocks, from the readers of its hyper-latent and its latent. */
function decodeTile(size, quality, readers, weights, report) {
  const latent = grid(size.rows, size.columns, CHANNELS, Int16Array);
  const points = weights.get("inward");
  let visited = 0;

  function visit(blocks, low, high, mean, scale) {
    const symbols = read(readers[1], scale);
    for (let [i, place] = [0, 0]; place < blocks.length; place++) {
      for (let channel = low; channel < high; channel++, i++) {
        const value = 2 * (16 * symbols[i] + mean[i]) - inward(symbols[i], scale[i], points);
        latent.values[blocks[place] * CHANNELS + channel] = value;
      }
    }
    visited += symbols.length;
    report(visited / latent.values.length);
    return symbols;
  }

  const scale = hyperScale(size, quality, weights);
  const hHat = { ...scale, values: read(readers[0], scale.values) };
  walk(crop(hyperFeatures(hHat, quality, weights), { ...size, top: 0, left: 0 }), weights, visit);
  for (const reader of readers) reader.finish();
  return latent;
}

/** A symbol for each of the scales: all those of scale 1 first, then those of scale 2, and so on. */
export function read(reader, scale) {
  const symbols = new Int16Array(scale.length);
  for (const { number, places } of byScale(scale, SCALES)) {
    const taken = reader.take(number, places.length);
    for (let i = 0; i < places.length; i++) symbols[places[i]] = taken[i];
  }
  return symbols;
}

/**
 * How much nearer to the mean than the symbol says the latent lies on average, in units of 2^-5 of a step.
 *
 * points: the weights' "inward", four for each scale.
 */
export function inward(symbol, scale, points) {
  return Math.sign(symbol) * points[4 * scale + Math.min(Math.abs(symbol), 3)];
}

/**
 * Go through the latent of a tile in the order of the file: predict, let `visit` find the symbols, learn from them.
 *
 * Encoder and decoder both walk here, one visiting to write, the other to read: so they cannot disagree.
 *
 * state: what is known of each block; at first, what the hyper-latent says. It is changed.
 * visit: (blocks, low, high, mean, scale) -> symbols, as many as mean and scale: those of channels low to high - 1 of the
 *   first block, then of the second; blocks are numbered row by row.
 */
export function walk(state, weights, visit) {
  GROUPS.forEach(([low, high, passes], number) => {
    const passOfBlock = passMap(state, passes);
    for (let turn = 0; turn < passes; turn++) {
      const blocks = Int32Array.from(passOfBlock.keys()).filter((block) => passOfBlock[block] === turn);
      const { mean, scale } = predict(state, blocks, number, weights);
      const symbols = visit(blocks, low, high, mean, scale);
      if (number + 1 === GROUPS.length) continue;
      const width = high - low;
      const found = grid(state.rows, state.columns, width);
      for (let [i, place] = [0, 0]; place < blocks.length; place++) {
        for (let k = 0; k < width; k++, i++) found.values[blocks[place] * width + k] = 16 * symbols[i] + mean[i];
      }
      const learned = convolve(found, `near.${number}.kernel`, weights).values;
      for (let i = 0; i < learned.length; i++) state.values[i] += learned[i];
    }
  });
}

/** In which of the passes each block is decoded: with fewer than five, the first ones are one. */
function passMap({ rows, columns }, passes) {
  const pass = (block) => PASSES[Math.floor(block / columns) % 4][(block % columns) % 4];
  return Int8Array.from({ length: rows * columns }, (_, block) => Math.max(pass(block) - (5 - passes), 0));
}

/** Mean, in units of 2^-4 of a step, and scale, the number of a table, of a group's channels at those blocks. */
export function predict(state, blocks, group, weights) {
  const { channels } = state;
  const x = new Float64Array(blocks.length * channels);
  blocks.forEach((block, i) => x.set(state.values.subarray(block * channels, (block + 1) * channels), i * channels));
  const straight = multiply(x, `heads.${group}.straight.kernel`, weights);
  const h = multiply(activate(x, 8), `heads.${group}.one.kernel`, weights, `heads.${group}.one.bias`);
  const out = multiply(activate(h, 12), `heads.${group}.two.kernel`, weights, `heads.${group}.two.bias`);

  const width = weights.shape(`heads.${group}.two.bias`)[0] / 2;
  const mean = new Float64Array(blocks.length * width);
  const scale = new Uint8Array(blocks.length * width);
  for (let i = 0; i < out.length; i++) out[i] += shift(straight[i], 8);
  for (let [i, row] = [0, 0]; row < out.length; row += 2 * width) {
    for (let k = row; k < row + width; k++, i++) {
      mean[i] = clip(shift(out[k], 16), -MEAN_MAX, MEAN_MAX);
      scale[i] = clip(shift(out[k + width], 20), 0, SCALES - 1);
    }
  }
  return { mean, scale };
}

/** The scale of each hyper-latent, which depends on channel and quality alone: a grid of a quarter of rows and columns. */
export function hyperScale({ rows, columns }, quality, weights) {
  const [base, slope] = [weights.get("hyper_scale.base"), weights.get("hyper_scale.slope")];
  const scale = grid(Math.ceil(rows / 4), Math.ceil(columns / 4), base.length, Uint8Array);
  for (let i = 0; i < scale.values.length; i++) {
    const channel = i % base.length;
    scale.values[i] = clip(shift(base[channel] + quality * slope[channel], 16), 0, SCALES - 1);
  }
  return scale;
}

/** What the hyper-latent says of each block, in units of 2^-16: a quarter of the rows and columns in, all out. */
export function hyperFeatures(hHat, quality, weights) {
  let h = convolve(hHat, "hyper.one.kernel", weights, "hyper.one.bias");
  h.values = activate(h.values, 8);
  h = convolve(depthToSpace(h, 2), "hyper.two.kernel", weights, "hyper.two.bias");
  for (let i = 0; i < h.values.length; i++) h.values[i] = shift(h.values[i], 4);
  const features = depthToSpace(h, 2);
  const ofQuality = weights.get("quality");
  for (let i = 0; i < features.values.length; i++) features.values[i] += quality * ofQuality[i % features.channels];
  return features;
}

/** The non-linearity of the integer networks: a shift and a clip. */
function activate(x, bits) {
  const y = new Float64Array(x.length);
  for (let i = 0; i < x.length; i++) y[i] = clip(shift(x[i], bits), 0, ACTIVATION_MAX);
  return y;
}

/** x / 2^bits rounded down: exact, since x is an integer below 2^53. */
function shift(x, bits) {
  return Math.floor(x * 0.5 ** bits);
}

/** x @ kernel + bias, for any number of rows: a convolution that looks at one place only, in lines of a tile's width. */
function multiply(x, kernel, weights, bias = null) {
  const [channels, out] = weights.shape(kernel);
  const rows = x.length / channels;
  const y = new x.constructor(rows * out);
  for (let row = 0; row < rows; row += TILE / BLOCK) {
    const columns = Math.min(TILE / BLOCK, rows - row);
    const values = x.subarray(row * channels, (row + columns) * channels);
    y.set(convolve({ rows: 1, columns, channels, values }, kernel, weights, bias).values, row * out);
  }
  return y;
}

/**
 * Convolution of a grid with (n, n, channels, out), zeros outside; every stride-th place.
 *
 * Channels come last, so the n places that a window covers in one row of x lie side by side: with the kernel's row they
 * make one product of matrices for a whole row of the result.
 */
export function convolve(x, kernelName, weights, biasName = null, stride = 1) {
  const shape = weights.shape(kernelName);
  const size = shape.length === 4 ? shape[0] : 1;
  const [channels, out] = shape.slice(-2);
  const kernel = weights.get(kernelName);
  const pad = (size - 1) >> 1;
  const rows = Math.ceil((x.rows + 2 * pad - size + 1) / stride);
  const columns = Math.ceil((x.columns + 2 * pad - size + 1) / stride);
  const y = grid(rows, columns, out, kernel.constructor);

  const [wide, result] = kernel instanceof Float64Array ? weights.scratch64 : weights.scratch32;
  const line = result.subarray(0, columns * out);
  const padded = wide.subarray(0, (x.columns + 2 * pad) * channels).fill(0);
  const inner = padded.subarray(pad * channels, (pad + x.columns) * channels);
  for (let row = 0; row < rows; row++) {
    line.fill(0);
    if (biasName) for (let column = 0; column < columns; column++) line.set(weights.get(biasName), column * out);
    for (let i = 0; i < size; i++) {
      const above = row * stride + i - pad;
      if (above < 0 || above >= x.rows) continue;
      inner.set(x.values.subarray(above * x.columns * channels, (above + 1) * x.columns * channels));
      const part = kernel.subarray(i * size * channels * out, (i + 1) * size * channels * out);
      weights.matrices.multiply(line, padded, part, columns, stride * channels, size * channels, out);
    }
    y.values.set(line, row * columns * out);
  }
  return y;
}

/** Channels into places, as in notebook 06: (rows, columns, factor^2 c) -> (factor rows, factor columns, c). */
export function depthToSpace(x, factor) {
  const channels = x.channels / factor ** 2;
  const y = grid(factor * x.rows, factor * x.columns, channels, x.values.constructor);
  const run = factor * channels; // channels of x that stay side by side
  for (let row = 0; row < y.rows; row++) {
    for (let column = 0; column < x.columns; column++) {
      const from = (Math.floor(row / factor) * x.columns + column) * x.channels + (row % factor) * run;
      const to = (row * x.columns + column) * run;
      for (let i = 0; i < run; i++) y.values[to + i] = x.values[from + i];
    }
  }
  return y;
}

/** The image, four bytes a pixel. A tile is computed with the blocks around it, so that no seam shows. */
function synthesise(latent, header, weights, report) {
  const rgba = new Uint8ClampedArray(4 * header.height * header.width); // rounds to the nearest, and clips
  const steps = Float32Array.from(gain(header.quality, weights), (value) => 32 * value);
  const spread = weights.get("synthesis.spread");
  const places = tiles(header);
  places.forEach((place, number) => {
    const around = widen(place, latent);
    const part = crop(latent, around);
    const [zHat, h] = [0, 1].map(() => grid(part.rows, part.columns, CHANNELS, Float32Array));
    for (let block = 0; block < part.values.length; block += CHANNELS) {
      for (let k = 0; k < CHANNELS; k++) {
        zHat.values[block + k] = part.values[block + k] / steps[k];
        h.values[block + k] = zHat.values[block + k] / spread[k];
      }
    }
    const correction = correct(h, header.quality, "synthesis", weights, (share) =>
      report((number + share) / places.length),
    );
    for (let i = 0; i < zHat.values.length; i++) zHat.values[i] += REACH * correction.values[i];
    const inside = crop(zHat, { ...place, top: place.top - around.top, left: place.left - around.left });
    draw(rgba, header, place, depthToSpace(convolve(inside, "synthesis.basis", weights), BLOCK));
  });
  return rgba;
}

/** A tile with HALO blocks around it, as far as there are any. */
export function widen({ top, left, rows, columns }, whole) {
  const [low, first] = [Math.max(top - HALO, 0), Math.max(left - HALO, 0)];
  const [end, last] = [Math.min(top + rows + HALO, whole.rows), Math.min(left + columns + HALO, whole.columns)];
  return { top: low, left: first, rows: end - low, columns: last - first };
}

/** Put a tile of centred pixels into the image, of which it may stick out. */
function draw(rgba, { height, width, grey }, { top, left }, x) {
  const [firstRow, firstColumn] = [BLOCK * top, BLOCK * left];
  for (let row = 0; row < Math.min(x.rows, height - firstRow); row++) {
    for (let column = 0; column < Math.min(x.columns, width - firstColumn); column++) {
      const from = 3 * (row * x.columns + column);
      const to = 4 * ((firstRow + row) * width + firstColumn + column);
      for (let k = 0; k < 3; k++) rgba[to + k] = x.values[from + (grey ? 1 : k)] + 128;
      rgba[to + 3] = 255;
    }
  }
}

/** Steps per grey level, (192,): the logarithms are linear in the quality between those that were learned. */
export function gain(quality, weights) {
  const learned = weights.get("gains.log_gain"); // (qualities, 192)
  const place = (quality / 100) * (weights.shape("gains.log_gain")[0] - 1);
  const below = Math.min(Math.floor(place), weights.shape("gains.log_gain")[0] - 2);
  const share = place - below;
  return Float64Array.from({ length: CHANNELS }, (_, channel) => {
    const [low, high] = [learned[below * CHANNELS + channel], learned[(below + 1) * CHANNELS + channel]];
    return Math.exp(low + share * (high - low));
  });
}

/** What a network adds to the linear transform of that name (`transforms.Correction`). */
export function correct(h, quality, name, weights, report = () => {}) {
  const layer = (h, part) =>
    convolve(h, `${name}.correction.${part}.kernel`, weights, `${name}.correction.${part}.bias`);

  const ofQuality = weights.get(`${name}.correction.quality.kernel`);
  h = layer(h, "first");
  report(0.25);
  for (let i = 0; i < h.values.length; i++) h.values[i] += (quality / 100) * ofQuality[i % h.channels];
  h = leaky(h);
  for (let block = 0; weights.arrays.has(`${name}.correction.blocks.${block}.near.kernel`); block++) {
    const added = layer(leaky(layer(h, `blocks.${block}.near`)), `blocks.${block}.mix`);
    for (let i = 0; i < h.values.length; i++) h.values[i] += added.values[i];
    report(0.5);
  }
  return layer(leaky(h), "last");
}

/** Leaky rectifier, slope 1/8 below zero. */
function leaky(h) {
  const y = grid(h.rows, h.columns, h.channels, Float32Array);
  for (let i = 0; i < h.values.length; i++) y.values[i] = h.values[i] < 0 ? h.values[i] / 8 : h.values[i];
  return y;
}
