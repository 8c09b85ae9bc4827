import type { BaseModel } from "../../models/base.ts";
import type { OpenBaseOptions } from "../../models/base-model.ts";
import type { DeviceChoice } from "../../runtime/device.ts";
import type { ActiveAdapter } from "../loaded.ts";
import type { GeneratedPiece, GenerateRequest, GenerateResult } from "../stream.ts";

/** How to open an engine. */
export interface EngineOptions extends OpenBaseOptions {
  /** Alias, folder, .gguf file or Hub id. */
  readonly model: string;
  readonly device?: DeviceChoice;
  readonly threads?: number | null;
  /** Longest text in tokens, prompt included; default: the model's positions, at most 2048. */
  readonly contextLength?: number;
  /** Continuations side by side; default 16. */
  readonly maxBatch?: number;
  /** Requests that wait for a place; default 64. */
  readonly maxQueue?: number;
  /** Also use adapters that name another model than this as their base. */
  readonly anyBase?: boolean;
}

/** A request, and the adapters that answer it. */
export interface EngineRequest extends GenerateRequest {
  /** Names of loaded adapters and the factor of each; none: the base alone. */
  readonly adapters?: Readonly<Record<string, number>>;
}

/** Texts to make vectors of, and the adapter that makes them. */
export interface EmbedRequest {
  /** Texts, which get the tokenizer's special tokens; or token ids, taken as they are. */
  readonly inputs: readonly (string | readonly number[])[];
  /** Name of a loaded adapter and its factor; none: the base alone. */
  readonly adapters?: Readonly<Record<string, number>>;
  readonly signal?: AbortSignal;
}

/** Vectors of texts. */
export interface EmbedResult {
  /** [d] for each input, as the model's own files say they are made (sentence-transformers: modules.json, 1_Pooling), else the mean
   *  over its tokens. */
  readonly vectors: readonly Float32Array[];
  /** Tokens of all inputs, special ones included. */
  readonly promptTokens: number;
}

/** How busy an engine is. */
export interface EngineStatus {
  /** Requests that are computed. */
  readonly running: number;
  /** Requests that wait for a place. */
  readonly waiting: number;
  /** Tokens so far, of all requests. */
  readonly promptTokens: number;
  readonly generatedTokens: number;
}

/** One base with many adapters. A decoder answers many requests side by side, which join and leave the running batch at every token; an
 *  encoder makes vectors of texts. */
export interface Engine {
  readonly base: BaseModel;
  /** Longest text in tokens, prompt included. */
  readonly contextLength: number;
  /** Requests that are computed or wait at once, at most. */
  readonly capacity: number;
  /** Every adapter that is loaded, by name. */
  readonly adapters: Readonly<Record<string, ActiveAdapter>>;
  readonly status: EngineStatus;
  /** Streams a continuation. Leaving the loop, or the request's signal, frees its place at the next token.
   *  @throws InputError for everything wrong in the request (before the first piece), NotFoundError for an adapter that is not
   *  loaded, BusyError where the queue is full, UnsupportedError for an encoder */
  generate(request: EngineRequest): AsyncGenerator<GeneratedPiece, GenerateResult>;
  /** Vectors of texts. @throws InputError for everything wrong in the request, NotFoundError for an adapter that is not loaded,
   *  BusyError where the queue is full, UnsupportedError for a decoder; the signal's reason */
  embed(request: EmbedRequest): Promise<EmbedResult>;
  /** The base as the first of some adapters has it: with its tokenizer and chat template. @throws NotFoundError */
  speaking(adapters?: Readonly<Record<string, number>>): Promise<BaseModel>;
  /** Loads an adapter under a name. One of that name that is there is replaced; requests under way keep the one that they began with.
   *  @throws NotFoundError, InputError if it is not there or does not fit */
  loadAdapter(name: string, path: string): Promise<void>;
  /** Lists an adapter by its configuration alone, and reads it when it is first asked for: what its weights say, and whether they fit,
   *  shows then. @throws NotFoundError, FormatError, InputError, UnsupportedError */
  announceAdapter(name: string, path: string): Promise<void>;
  /** Forgets an adapter; requests under way keep it. @throws NotFoundError */
  unloadAdapter(name: string): Promise<void>;
  /** Ends what is under way (as aborted) and the engine. */
  close(): Promise<void>;
}
