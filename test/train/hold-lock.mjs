// usage: hold-lock.mjs <built lock.js> <run folder>: takes the lock, says so, and holds it until it is killed.
import { pathToFileURL } from "node:url";

const [, , module, folder] = process.argv;
const { lockRunFolder } = await import(pathToFileURL(module).href);
try {
  await lockRunFolder(folder);
  console.log("held");
} catch (error) {
  console.log(error.message);
}
setInterval(() => undefined, 1000);
