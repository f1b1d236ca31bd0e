// The one inner loop of the playground: y += x @ kernel, for matrices that lie in one WebAssembly memory.
//
// Plain JavaScript has no vector instructions; with them the decoder is fast enough to play with. The machine code is
// written down here, instruction by instruction, so that there is nothing to compile before the page is served. Where a
// browser lacks WebAssembly's vectors, `multiplyPlain` does the same, several times slower.

const PAGE = 1 << 16; // bytes of a page of WebAssembly's memory
const VECTORS = 2; // of a row of y, kept in registers at once

/**
 * y[r][c] += sum over k of x[r * stride + k] * kernel[k][c], for r < rows, k < inner, c < columns.
 *
 * Rows of x may overlap (stride < inner): so a convolution needs no copy of each of its windows.
 */
export function multiplyPlain(y, x, kernel, rows, stride, inner, columns) {
  for (let r = 0; r < rows; r++) {
    for (let k = 0; k < inner; k++) {
      const value = x[r * stride + k];
      if (value === 0) continue;
      for (let c = 0; c < columns; c++) y[r * columns + c] += value * kernel[k * columns + c];
    }
  }
}

/** A memory in which arrays are laid down one after another and never freed, and the product of arrays in it. */
export class Matrices {
  /** `bytes` is all that it can ever hold. With `vectors` false, no WebAssembly is used. */
  constructor(bytes, vectors = true) {
    const memory = new WebAssembly.Memory({ initial: Math.ceil(bytes / PAGE) });
    this.buffer = memory.buffer;
    this.end = 0;
    const code = vectors ? moduleBytes() : null;
    this.code = code && WebAssembly.validate(code) ? instantiate(code, memory) : null;
  }

  /** An array of zeros in the memory. */
  allocate(Type, length) {
    const start = this.end;
    this.end += Math.ceil((length * Type.BYTES_PER_ELEMENT) / 16) * 16;
    return new Type(this.buffer, start, length);
  }

  /** `multiplyPlain`, for three arrays of this memory and of one type; columns fill whole vectors. */
  multiply(y, x, kernel, rows, stride, inner, columns) {
    if (this.code === null) return multiplyPlain(y, x, kernel, rows, stride, inner, columns);
    const size = x.BYTES_PER_ELEMENT;
    const multiply = size === 4 ? this.code.multiply32 : this.code.multiply64;
    multiply(y.byteOffset, x.byteOffset, kernel.byteOffset, rows, size * stride, inner, size * columns);
  }
}

function instantiate(code, memory) {
  return new WebAssembly.Instance(new WebAssembly.Module(code), { host: { memory } }).exports;
}

// WebAssembly, https://webassembly.github.io/spec/core/binary/

/** An unsigned integer in seven-bit groups (LEB128). */
function number(value) {
  return value < 128 ? [value] : [(value & 127) | 128, ...number(value >>> 7)];
}

const list = (items) => [...number(items.length), ...items.flat()];
const section = (id, items) => [id, ...sized(list(items))];
const sized = (bytes) => [...number(bytes.length), ...bytes];
const name = (text) => sized([...text].map((letter) => letter.charCodeAt(0)));

const I32 = 0x7f;
const V128 = 0x7b;
const get = (local) => [0x20, local];
const set = (local, value) => [...value, 0x21, local];
const constant = (value) => [0x41, value]; // 0 .. 63
const add = (a, b) => [...a, ...b, 0x6a];
const multiplied = (a, b) => [...a, ...b, 0x6c];
const increase = (local, by) => set(local, add(get(local), by));
const reaches = (local, value) => [...get(local), ...constant(value), 0x4f];
const repeat = (body, condition) => [0x03, 0x40, ...body, ...condition, 0x0d, 0, 0x0b]; // do body while condition
const when = (condition, body) => [...condition, 0x04, 0x40, ...body, 0x0b];

const load = (address, offset) => [...address, 0xfd, 0x00, 0, offset];
const store = (address, offset, value) => [...address, ...value, 0xfd, 0x0b, 0, offset];
const KINDS = {
  4: { splat: 0x09, add: 0xe4, multiply: 0xe6 }, // four float32 in a vector
  8: { splat: 0x0a, add: 0xf0, multiply: 0xf2 }, // two float64
};

/** The body of multiply32 (size 4) or multiply64 (size 8): parameters in bytes where they are distances. */
function multiplyBody(size) {
  const kind = KINDS[size];
  const [y, x, kernel, rows, stride, inner, columns] = [0, 1, 2, 3, 4, 5, 6];
  const [left, xTile, yTile, k, count, done] = [7, 8, 9, 10, 11, 12]; // integers
  const [xRow, yRow] = [13, 17]; // four integers each: where the rows of a tile are
  const [factor, sum] = [21, 23]; // vectors: of a row of the kernel, and of four rows of y

  const vector = (operation, a, b) => [...a, ...b, 0xfd, operation, 0x01];
  const splat = (local) => [...get(local), 0xfd, kind.splat, 0, 0];

  /** `height` rows of y, VECTORS vectors wide, stay in registers while k runs over the inner dimension. */
  function tile(height) {
    const range = [...Array(height).keys()];
    const places = range.flatMap((i) => [...Array(VECTORS).keys()].map((j) => [i, j, sum + VECTORS * i + j]));
    const start = (row, first, step) =>
      range.flatMap((i) => set(row + i, i === 0 ? get(first) : add(get(row + i - 1), get(step))));
    return [
      ...start(xRow, xTile, stride),
      ...start(yRow, yTile, columns),
      ...places.flatMap(([i, j, local]) => set(local, load(get(yRow + i), 16 * j))),
      ...set(k, get(kernel)),
      ...set(count, get(inner)),
      ...repeat(
        [
          ...[...Array(VECTORS).keys()].flatMap((j) => set(factor + j, load(get(k), 16 * j))),
          ...places.flatMap(([i, j, local]) => {
            const product = vector(kind.multiply, splat(xRow + i), get(factor + j));
            return set(local, vector(kind.add, get(local), product));
          }),
          ...range.flatMap((i) => increase(xRow + i, constant(size))),
          ...increase(k, get(columns)),
          ...set(count, [...get(count), ...constant(1), 0x6b]),
        ],
        get(count),
      ),
      ...places.flatMap(([i, j, local]) => store(get(yRow + i), 16 * j, get(local))),
      ...increase(xTile, multiplied(get(stride), constant(height))),
      ...increase(yTile, multiplied(get(columns), constant(height))),
      ...set(left, [...get(left), ...constant(height), 0x6b]),
    ];
  }

  const body = repeat(
    [
      ...set(left, get(rows)),
      ...set(xTile, get(x)),
      ...set(yTile, get(y)),
      ...[4, 1].flatMap((height) => when(reaches(left, height), repeat(tile(height), reaches(left, height)))),
      ...increase(kernel, constant(16 * VECTORS)),
      ...increase(y, constant(16 * VECTORS)),
      ...increase(done, constant(16 * VECTORS)),
    ],
    [...get(done), ...get(columns), 0x49], // done < columns
  );
  const locals = list([[...number(factor - left), I32], [...number(2 + 4 * VECTORS), V128]]);
  return sized([...locals, ...body, 0x0b]);
}

function moduleBytes() {
  return new Uint8Array([
    ...[0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00], // magic, version
    ...section(1, [[0x60, ...list(Array(7).fill([I32])), ...list([])]]), // one type: seven integers -> nothing
    ...section(2, [[...name("host"), ...name("memory"), 0x02, 0x00, 0x01]]), // at least a page of memory
    ...section(3, [[0], [0]]),
    ...section(7, [
      [...name("multiply32"), 0x00, 0],
      [...name("multiply64"), 0x00, 1],
    ]),
    ...section(10, [multiplyBody(4), multiplyBody(8)]),
  ]);
}
