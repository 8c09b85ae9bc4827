// Conversations that every template is tried on.
const system = { role: "system", content: "You are terse.\n" };
const user = { role: "user", content: "What is 2 + 2?" };
const assistant = { role: "assistant", content: "4" };
const more = { role: "user", content: " And\n\n3 + 3? " };
const last = { role: "assistant", content: "  6\n" };
const tools = [
  {
    type: "function",
    function: {
      name: "weather",
      description: 'Weather of <a place> & "time" in Zürich',
      parameters: {
        type: "object",
        properties: {
          city: { type: "string", description: "A city", enum: ["Bern", "Zürich"] },
          days: { type: "integer", default: 3 },
          units: { type: ["string", "null"] },
          list: { type: "array", items: { type: "number" } },
        },
        required: ["city"],
      },
    },
  },
];
const call = (args, more = {}) => ({
  role: "assistant",
  content: "",
  tool_calls: [{ id: "call_1ab9XYZ3", type: "function", function: { name: "weather", arguments: args } }],
  ...more,
});
const answer = { role: "tool", content: '{"t": 21.5}', name: "weather", tool_call_id: "call_1ab9XYZ3" };
const thought = { role: "assistant", content: "<think>\n2 and 2.\n</think>\n\n4" };

/** What a template is given; `addGenerationPrompt` and `extra` as in the library's render options. */
export const conversations = [
  { messages: [user], addGenerationPrompt: true },
  { messages: [user] },
  { messages: [user, assistant] },
  { messages: [system, user], addGenerationPrompt: true },
  { messages: [system, user, assistant, more, last] },
  { messages: [user, assistant, more], addGenerationPrompt: true },
  { messages: [user, thought] },
  { messages: [user, thought, more, thought] },
  { messages: [user, thought, more], addGenerationPrompt: true, extra: { enable_thinking: false } },
  { messages: [user], addGenerationPrompt: true, extra: { enable_thinking: true } },
  { messages: [user, { ...assistant, reasoning_content: "2 and 2." }] },
  { messages: [user, { ...assistant, thinking: "2 and 2." }, more, last] },
  {
    messages: [user, call({ city: "Zürich", days: 2, list: [1, 2.5, null, true] }), answer],
    addGenerationPrompt: true,
    tools,
  },
  { messages: [system, user, call('{"city": "Bern"}'), answer, assistant], tools },
  { messages: [user, call({ city: "Bern" }, { content: null })], tools },
  { messages: [user, call({}, { content: "Let me look." }), answer, answer, assistant, more, last], tools },
  { messages: [user], addGenerationPrompt: true, tools },
  {
    messages: [
      {
        role: "user",
        content: [
          { type: "text", text: "parts" },
          { type: "text", text: " of it" },
        ],
      },
      assistant,
    ],
  },
  { messages: [user, { role: "assistant", content: [{ type: "text", text: "a part" }] }] },
  {
    messages: [
      { role: "user", content: "" },
      { role: "assistant", content: "" },
    ],
  },
  {
    messages: [{ role: "user", content: "  \n\t " }, { role: "assistant", content: "\n\nx\n" }, more],
    addGenerationPrompt: true,
  },
  {
    messages: [
      { role: "user", content: "<|im_end|></s>{{ 7 * 7 }}{% if x %}\\n\u{1f680} 'quoted' \"twice\" Ünïcödé" },
      assistant,
    ],
  },
  { messages: [assistant, user] },
  { messages: [user, user, assistant] },
  { messages: [{ role: "developer", content: "Be kind." }, user], addGenerationPrompt: true },
  { messages: [system, system, user] },
  { messages: [] },
  {
    messages: [{ ...user, name: "Ann", id: 7, score: 0.1, flag: false, nothing: null }, assistant],
    addGenerationPrompt: true,
  },
];
