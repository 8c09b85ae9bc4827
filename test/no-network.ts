// Unit tests must not reach the network: a connection to anything but this machine fails at once.
import { Socket } from "node:net";

const LOCAL = /^(localhost|127\.|::1$|::ffff:127\.)/;

/** Host of `connect`'s arguments: an options object, possibly inside Node's own normalized array, or (port, host). */
function hostOf(args: readonly unknown[]): string {
  const [first, second] = Array.isArray(args[0]) ? args[0] : args;
  if (typeof first === "object" && first !== null) {
    const { host, path } = first as { host?: string; path?: string };
    return path === undefined ? (host ?? "localhost") : "localhost";
  }
  return typeof second === "string" ? second : "localhost";
}

const connect = Socket.prototype.connect as (...args: unknown[]) => Socket;
Socket.prototype.connect = function (this: Socket, ...args: unknown[]): Socket {
  const host = hostOf(args);
  if (!LOCAL.test(host)) throw new Error(`a unit test reaches for the network: ${host}`);
  return connect.apply(this, args);
} as Socket["connect"];
