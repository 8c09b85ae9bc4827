import type { GeneratedPiece } from "./request.ts";

/** Pieces that are made here and read there. */
export interface Inbox {
  give(piece: GeneratedPiece): void;
  /** Nothing more comes; an error if it failed. */
  end(error?: unknown): void;
  /** What has come. */
  taken(): readonly GeneratedPiece[];
  /** What comes, until the end. @throws the error that it ended with */
  read(): AsyncGenerator<GeneratedPiece, void>;
}

/** An empty inbox, for one reader. */
export function createInbox(): Inbox {
  const pieces: GeneratedPiece[] = [];
  let over: { readonly error: unknown } | null = null;
  let wake = (): void => undefined;
  return {
    give: (piece) => {
      pieces.push(piece);
      wake();
    },
    end: (error) => {
      over ??= { error };
      wake();
    },
    taken: () => pieces.splice(0),
    async *read() {
      for (;;) {
        const piece = pieces.shift();
        if (piece) yield piece;
        else if (over?.error !== undefined) throw over.error;
        else if (over) return;
        else
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
      }
    },
  };
}
