// What decoder.py takes from Python, NumPy and zlib, as far as the playground needs it.
//
// A grid is {rows, columns, channels, values}: what NumPy holds as an array (rows, columns, channels).

/** Bytes as Python shows them: b'...'. */
export function asPython(bytes) {
  const quote = bytes.includes(39) && !bytes.includes(34) ? '"' : "'";
  const short = { 9: "\\t", 10: "\\n", 13: "\\r", 92: "\\\\", [quote.charCodeAt(0)]: `\\${quote}` };
  const letters = [...bytes].map(
    (byte) => short[byte] ?? (byte < 32 || byte > 126 ? `\\x${hex([byte])}` : String.fromCharCode(byte)),
  );
  return `b${quote}${letters.join("")}${quote}`;
}

export function hex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  for (let bit = 0; bit < 8; bit++) byte = byte & 1 ? (byte >>> 1) ^ 0xedb88320 : byte >>> 1;
  return byte;
});

/** The checksum of zlib and PNG, going on from that of earlier bytes. */
export function crc32(data, before = 0) {
  let crc = ~before;
  for (const byte of data) crc = CRC_TABLE[(crc ^ byte) & 255] ^ (crc >>> 8);
  return ~crc >>> 0;
}

/** The last place of a rising table whose entry is at most `slot`. */
export function bisect(table, slot) {
  const middleOf = (table.length - 2) >> 1;
  if (table[middleOf] <= slot && slot < table[middleOf + 1]) return middleOf; // most symbols are 0
  let [low, high] = [0, table.length - 1]; // table[low] <= slot < table[high]
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (table[middle] <= slot) low = middle;
    else high = middle;
  }
  return low;
}

/** The scales above 0 that occur, rising, each with its places, rising: [{number, places}]. */
export function byScale(scale, scales) {
  const ends = new Int32Array(scales + 1); // ends[number]: how many places have a scale below number
  for (let i = 0; i < scale.length; i++) ends[scale[i] + 1]++;
  for (let number = 0; number < scales; number++) ends[number + 1] += ends[number];
  const starts = ends.slice();
  const order = new Int32Array(scale.length);
  for (let i = 0; i < scale.length; i++) order[starts[scale[i]]++] = i;
  const runs = [];
  for (let number = 1; number < scales; number++) {
    if (ends[number] < ends[number + 1]) runs.push({ number, places: order.subarray(ends[number], ends[number + 1]) });
  }
  return runs;
}

export function clip(x, low, high) {
  return x < low ? low : x > high ? high : x;
}

export function grid(rows, columns, channels, Type = Float64Array) {
  return { rows, columns, channels, values: new Type(rows * columns * channels) };
}

/** A window of a grid, {top, left, rows, columns}. */
export function crop(x, { top, left, rows, columns }) {
  const y = grid(rows, columns, x.channels, x.values.constructor);
  for (let row = 0; row < rows; row++) {
    const start = ((top + row) * x.columns + left) * x.channels;
    y.values.set(x.values.subarray(start, start + columns * x.channels), row * columns * x.channels);
  }
  return y;
}

/** Put a grid into a larger one. */
export function paste(x, { top, left }, part) {
  const width = part.columns * part.channels;
  for (let row = 0; row < part.rows; row++) {
    x.values.set(part.values.subarray(row * width, (row + 1) * width), ((top + row) * x.columns + left) * x.channels);
  }
}

export function splitRows({ shape: [rows, columns], values }) {
  return Array.from({ length: rows }, (_, row) => values.slice(row * columns, (row + 1) * columns));
}
