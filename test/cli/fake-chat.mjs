// usage: fake-chat.mjs <built cli folder>: the chat command's loop around a model that says what it was asked.
import { pathToFileURL } from "node:url";

const [, , dist] = process.argv;
const { converse } = await import(pathToFileURL(`${dist}/chat.js`).href);
const { outputTo } = await import(pathToFileURL(`${dist}/display/output.js`).href);

const model = {
  async *generate({ messages, temperature }) {
    await new Promise((done) => setTimeout(done, 10));
    for (const { role, content } of messages) yield { text: `[${role}: ${content}]`, id: 0 };
    yield { text: ` at ${temperature}`, id: 0 };
  },
};
const system = [{ role: "system", content: "be brief" }];
await converse(model, system, { temperature: 0.5 }, { out: outputTo(process.stdout), exitCode: 0 });
