/** Of an adapter: the variables of the chat template that it was trained with. PEFT has no place for that, and passes it over. */
export const TEMPLATE_ARGS_FILE = "chat_template_args.json";

/** Content of the file; null where there are no variables. */
export function templateArgsText(args: Readonly<Record<string, unknown>>): string | null {
  return Object.keys(args).length === 0 ? null : `${JSON.stringify(args, null, 2)}\n`;
}
