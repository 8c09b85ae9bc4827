// Asks the trained adapter: npm run use "a prompt"
import { loadModel } from "lowrank";

const prompt = process.argv[2] ?? "Friday, noon: tennis with Ines";
const model = await loadModel({ model: "smollm2-135m", adapter: "runs/first" });
const { text } = await model.generateText({ prompt });
console.log(text);
await model.close();
