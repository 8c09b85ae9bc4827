/** The drawing of a source folder, as SVG. */
export function drawing(source: string): string;
