import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex, utf8ToBytes } from "@noble/hashes/utils.js";

/** A hash that takes its content piece by piece, at once: browsers have none of their own that does. */
export interface Sha256 {
  update(content: string | Uint8Array | Int32Array): Sha256;
  /** Hex. Nothing is added after it. */
  hex(): string;
}

export function createSha256(): Sha256 {
  const hash = sha256.create();
  const own: Sha256 = {
    update: (content) => {
      hash.update(bytesOf(content));
      return own;
    },
    hex: () => bytesToHex(hash.digest()),
  };
  return own;
}

/** Hex sha256 of a content. */
export function sha256Hex(content: string | Uint8Array): string {
  return createSha256().update(content).hex();
}

/** sha256 of a text, 32 bytes. */
export function sha256Bytes(text: string): Uint8Array {
  return sha256(utf8ToBytes(text));
}

function bytesOf(content: string | Uint8Array | Int32Array): Uint8Array {
  if (typeof content === "string") return utf8ToBytes(content);
  if (content instanceof Uint8Array) return content;
  return new Uint8Array(content.buffer, content.byteOffset, content.byteLength);
}
