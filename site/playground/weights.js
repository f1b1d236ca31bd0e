// Weights files (safetensors) as typed arrays, and the checksum by which a file names the weights it was made with.

const TYPES = { U8: Uint8Array, I8: Int8Array, I16: Int16Array, I32: Int32Array, F16: Uint16Array, F32: Float32Array };

/** The arrays of a weights file by name, {dtype, shape, bytes, values}; values of F16 are float32. Texts: `.about`. */
export function readArrays(buffer) {
  const length = Number(new DataView(buffer).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length)));
  const arrays = new Map();
  arrays.about = header.__metadata__ ?? {};
  delete header.__metadata__;
  for (const [name, { dtype, shape, data_offsets }] of Object.entries(header)) {
    const [start, end] = data_offsets;
    const bytes = new Uint8Array(buffer, 8 + length + start, end - start);
    const stored = new TYPES[dtype](bytes.slice().buffer); // a copy, because a view must start at a multiple of its size
    arrays.set(name, { dtype, shape, bytes, values: dtype === "F16" ? halves(stored) : stored });
  }
  return arrays;
}

export async function fetchArrays(url) {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`${url}: expected the weights, got ${answer.status}`);
  return readArrays(await answer.arrayBuffer());
}

/** Half-precision floats, given as their 16 bits, as float32. */
function halves(bits) {
  return Float32Array.from(bits, (half) => {
    const sign = half & 0x8000 ? -1 : 1;
    const exponent = (half >> 10) & 31;
    const fraction = half & 1023;
    if (exponent === 0) return sign * fraction * 2 ** -24;
    if (exponent === 31) return fraction ? NaN : sign * Infinity;
    return sign * (1024 + fraction) * 2 ** (exponent - 25);
  });
}

/**
 * SHA-256 of the pieces one after another, as 32 bytes.
 *
 * The browser's own is missing where a page is served without encryption, as by a teacher's laptop to a class.
 * Source: FIPS 180-4.
 */
export function sha256(pieces) {
  const primes = [];
  for (let n = 2; primes.length < 64; n++) if (primes.every((p) => n % p)) primes.push(n);
  const fraction = (x) => Math.floor((x - Math.floor(x)) * 2 ** 32) | 0;
  const constants = Int32Array.from(primes, (p) => fraction(Math.cbrt(p)));
  const state = Int32Array.from(primes.slice(0, 8), (p) => fraction(Math.sqrt(p)));
  const length = pieces.reduce((sum, piece) => sum + piece.length, 0);
  const message = new Uint8Array(Math.ceil((length + 9) / 64) * 64);
  let place = 0;
  for (const piece of pieces) {
    message.set(piece, place);
    place += piece.length;
  }
  message[length] = 0x80;
  const view = new DataView(message.buffer);
  view.setBigUint64(message.length - 8, BigInt(8 * length));

  const rotate = (x, n) => (x >>> n) | (x << (32 - n));
  const w = new Int32Array(64);
  for (let start = 0; start < message.length; start += 64) {
    for (let i = 0; i < 16; i++) w[i] = view.getInt32(start + 4 * i);
    for (let i = 16; i < 64; i++) {
      const s0 = rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ (w[i - 15] >>> 3);
      const s1 = rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ (w[i - 2] >>> 10);
      w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }
    let [a, b, c, d, e, f, g, h] = state;
    for (let i = 0; i < 64; i++) {
      const s1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25);
      const t1 = (h + s1 + ((e & f) ^ (~e & g)) + constants[i] + w[i]) | 0;
      const s0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22);
      const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      [h, g, f, e, d, c, b, a] = [g, f, e, (d + t1) | 0, c, b, a, (t1 + t2) | 0];
    }
    [a, b, c, d, e, f, g, h].forEach((value, i) => (state[i] += value));
  }
  const digest = new DataView(new ArrayBuffer(32));
  state.forEach((word, i) => digest.setInt32(4 * i, word));
  return new Uint8Array(digest.buffer);
}
