/** What was written when. */
export interface Piece {
  readonly atMs: number;
  readonly bytes: Uint8Array;
}
/** A line's states over time. */
export interface Line {
  readonly states: readonly { readonly atMs: number; readonly cells: readonly { readonly ch: string }[] }[];
}
export declare function record(command: string): Promise<readonly Piece[]>;
export declare function linesOf(recording: readonly Piece[]): readonly Line[];
export declare function terminalSvg(lines: readonly Line[], title: string): string;
