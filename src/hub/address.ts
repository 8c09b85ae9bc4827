import { BlockList, isIP } from "node:net";
import { HUB_URL } from "@huggingface/hub";
import { InputError, LowrankError, NetworkError } from "../errors.ts";

/** Where the Hub is, and who asks. */
export interface HubAddress {
  /** Default: `HF_ENDPOINT`, else the public Hub. */
  readonly hubUrl?: string | undefined;
  /** Default: `HF_TOKEN`. */
  readonly token?: string | undefined;
}

/** Address of the Hub, without a slash at the end. @throws InputError if it is no address, or holds credentials: they are never
 *  shown, nor is what may be one */
export function hubUrlOf(access: HubAddress): string {
  const url = (access.hubUrl ?? (process.env.HF_ENDPOINT || HUB_URL)).replace(/\/+$/, "");
  const isAddress = /^https?:\/\/[^\s\p{Cc}]+$/u.test(url) && URL.canParse(url);
  const { username, password } = isAddress ? new URL(url) : { username: "", password: "" };
  if (isAddress && username === "" && password === "") return url;
  const isShowable = !/[@\p{Cc}]/u.test(url);
  const message = isAddress
    ? "holds a user name or a password, which are not used: give the address alone, and a token in HF_TOKEN"
    : `expected https://…${isShowable ? `, got "${url.slice(0, 100)}"` : ""}`;
  throw new InputError("the Hub's address is not one", [
    { where: access.hubUrl === undefined ? "HF_ENDPOINT" : "hubUrl", message },
  ]);
}

/** The token in use, if any. @throws LowrankError ("access") if it cannot be one; it is not shown */
export function tokenOf(access: HubAddress): string | undefined {
  const token = access.token ?? (process.env.HF_TOKEN || undefined);
  if (token === undefined || /^[\x21-\x7e]*$/.test(token)) return token;
  const where = access.token === undefined ? "HF_TOKEN" : "the token";
  throw new LowrankError(
    "access",
    `${where} holds a character that a token cannot have (a line break, a space or the like)`,
  );
}

/** Addresses of this machine and of networks that are not public. */
const INNER = new BlockList();
for (const [net, prefix, family] of [
  ["0.0.0.0", 8, "ipv4"],
  ["10.0.0.0", 8, "ipv4"],
  ["100.64.0.0", 10, "ipv4"],
  ["127.0.0.0", 8, "ipv4"],
  ["169.254.0.0", 16, "ipv4"],
  ["172.16.0.0", 12, "ipv4"],
  ["192.168.0.0", 16, "ipv4"],
  ["::", 127, "ipv6"],
  ["fc00::", 7, "ipv6"],
  ["fe80::", 10, "ipv6"],
] as const)
  INNER.addSubnet(net, prefix, family);

function isInner({ hostname }: URL): boolean {
  const host = hostname.replace(/^\[|\]$/g, "");
  const version = isIP(host);
  if (version === 0) return /(^|\.)localhost\.?$/.test(host);
  return INNER.check(host, version === 4 ? "ipv4" : "ipv6");
}

/** An address that an answer names (a redirect, the next page, a place to upload to), as far as it may be followed from `hub`.
 *  @throws NetworkError for another scheme than http and https, for http where the Hub has https, for credentials in it, and for
 *  an address of this machine or a private network where the Hub has a public one */
export function followable(target: string, from: URL, hub: URL): URL {
  const url = URL.canParse(target, from.href) ? new URL(target, from) : null;
  const refused = (why: string): NetworkError =>
    new NetworkError(`${from.host} leads to ${why}, which is not followed`);
  if (url === null) throw refused("what is no address");
  if (url.protocol !== "https:" && url.protocol !== "http:")
    throw refused(`an address that begins with ${url.protocol}`);
  if (url.protocol === "http:" && hub.protocol === "https:")
    throw refused(`an unencrypted address (${url.host})`);
  if (url.username !== "" || url.password !== "") throw refused(`an address with credentials (${url.host})`);
  if (isInner(url) && !isInner(hub)) throw refused(`an address that is not public (${url.host})`);
  return url;
}
