/** Values that a parser should expect and often does not. */
const HOSTILE = [
  ...[null, true, "", "x", 0, -1, 1.5, 1e308, 2 ** 31, 2 ** 32, 2 ** 53, -(2 ** 53)],
  ...[[], {}, [[]], [null], "__proto__", "constructor", "../../x", "\u0000", "é".repeat(300)],
  "x".repeat(100_000),
];
const INTEGERS = [
  0n,
  1n,
  127n,
  255n,
  65535n,
  2n ** 31n,
  2n ** 32n - 1n,
  2n ** 53n,
  2n ** 63n,
  2n ** 64n - 1n,
];

/** A changed copy of a file's bytes: of JSON most often a changed value or key, else changed bytes. */
export function mutated(bytes, generator) {
  if (generator.below(4) > 0) {
    const text = json(bytes, generator);
    if (text !== null) return Buffer.from(text);
  }
  return damaged(bytes, generator);
}

/** Where the structure is: most often at the start. */
function spotOf(length, generator) {
  return Math.floor(length * generator.uniform() ** 4);
}

const DAMAGES = [
  (bytes, g) => {
    for (let i = g.below(6); i >= 0 && bytes.length > 0; i--) bytes[spotOf(bytes.length, g)] = g.below(256);
    return bytes;
  },
  (bytes, g) => bytes.subarray(0, spotOf(bytes.length, g)),
  (bytes, g) => Buffer.concat([bytes.subarray(0, spotOf(bytes.length, g)), bytes]),
  (bytes, g) => {
    const value = Buffer.alloc(8);
    value.writeBigUInt64LE(INTEGERS[g.below(INTEGERS.length)]);
    value.copy(bytes, spotOf(bytes.length, g), 0, g.below(2) ? 8 : 4);
    return bytes;
  },
  (bytes, g) => {
    const [from, to] = [spotOf(bytes.length, g), spotOf(bytes.length, g)];
    bytes.copy(bytes, to, from, Math.min(bytes.length, from + 1 + g.below(64)));
    return bytes;
  },
  (_bytes, g) =>
    Buffer.from(["", "{", "null", "[]", "\u0000\u0001", "{}", "\n\n", "[".repeat(100_000)][g.below(8)]),
];

function damaged(bytes, generator) {
  let result = Buffer.from(bytes);
  for (let i = generator.below(2); i >= 0; i--)
    result = Buffer.from(DAMAGES[generator.below(DAMAGES.length)](result, generator));
  return result;
}

/** The JSON in a file with one to three changes (of a file of JSON lines, in one line); null for other files. */
function json(bytes, generator) {
  if (bytes.length > 4_000_000) return null;
  const text = bytes.toString("utf8");
  const whole = parsed(text);
  if (whole !== null) return JSON.stringify(changed(whole, generator));
  const lines = text.split("\n");
  const at = generator.below(lines.length);
  const line = parsed(lines[at]);
  if (line === null) return null;
  lines[at] = JSON.stringify(changed(line, generator));
  return lines.join("\n");
}

function parsed(text) {
  try {
    const value = JSON.parse(text);
    return typeof value === "object" ? value : null;
  } catch {
    return null;
  }
}

function changed(value, generator) {
  for (let i = generator.below(3); i >= 0; i--) changeOne(value, generator);
  return value;
}

/** Goes down a random way and changes what is there: another value, another key, nothing, twice as much. */
function changeOne(root, generator) {
  let at = root;
  for (;;) {
    const keys = Object.keys(at);
    const key = keys[generator.below(Math.max(1, keys.length))];
    if (key === undefined) return;
    const inside = at[key];
    if (typeof inside === "object" && inside !== null && generator.below(4) > 0) {
      at = inside;
      continue;
    }
    const hostile = structuredClone(HOSTILE[generator.below(HOSTILE.length)]);
    const kind = generator.below(5);
    if (kind === 0) delete at[key];
    else if (kind === 1 && typeof hostile === "string") at[hostile] = inside;
    else if (kind === 2 && Array.isArray(inside)) at[key] = [...inside, ...inside];
    else if (kind === 3 && typeof inside === "number")
      at[key] = [-inside, inside * 1e9, inside + 0.5][generator.below(3)];
    else at[key] = hostile;
    return;
  }
}
