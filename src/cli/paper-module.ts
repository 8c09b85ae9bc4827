/** What a run of the experiments says (experiments/run.ts). */
export type PaperEvent =
  | {
      readonly type: "plan";
      readonly size: { readonly name: string; readonly summary: string };
      readonly experiments: readonly string[];
      readonly cells: number;
      readonly kept: number;
    }
  | {
      readonly type: "cell";
      readonly experiment: string;
      readonly label: string;
      readonly done: number;
      readonly cells: number;
      readonly isDone: boolean;
      readonly etaMs: number | null;
    }
  | {
      readonly type: "experiment";
      readonly name: string;
      readonly title: string;
      readonly findings: {
        readonly claims: readonly {
          readonly text: string;
          readonly verdict: string;
          readonly because: string;
        }[];
      };
    }
  | {
      readonly type: "done";
      readonly report: string;
      readonly results: string;
      readonly tables: readonly string[];
    };

/** What the command needs of the experiments. */
export interface PaperModule {
  readonly EXPERIMENTS: readonly {
    readonly name: string;
    readonly section: string;
    readonly title: string;
  }[];
  runPaper(options: Readonly<Record<string, unknown>>): AsyncGenerator<PaperEvent>;
}

/** The experiments are built beside the library, on whose public surface they stand: nothing here is compiled with them. */
export async function importPaper(): Promise<PaperModule> {
  return (await import(new URL("../experiments/index.js", import.meta.url).href)) as PaperModule;
}
