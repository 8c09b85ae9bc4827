/** Something wrong with a template, or a reason of its own to refuse (`raise_exception`). */
export class TemplateError extends Error {
  /** 1-based line of the template, where it is known. */
  readonly line: number | null;

  constructor(message: string, line: number | null = null) {
    super(message);
    this.name = "TemplateError";
    this.line = line;
  }
}
