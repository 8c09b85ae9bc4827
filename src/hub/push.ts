import { pathToFileURL } from "node:url";
import { type CommitOutput, commitIter, createBranch, createRepo, HubApiError } from "@huggingface/hub";
import { InputError, LowrankError, NetworkError } from "../errors.ts";
import { baseModelOfAdapter } from "../formats/foreign-adapter.ts";
import type { OnProgress } from "../io/progress.ts";
import { tokenOf } from "./address.ts";
import { type HubAccess, hubApiFetch, hubUrlOf } from "./http.ts";
import { parseHubId } from "./models.ts";
import { checkPublished } from "./published-check.ts";
import { type PublishedFile, publishedFiles } from "./published-files.ts";
import { isOffline } from "./repo.ts";
import { hubModelId } from "./resolve.ts";

/** What to upload, and where to. */
export interface PushOptions extends HubAccess {
  /** Adapter folder, run folder that holds one, or model folder. */
  readonly folder: string;
  /** `user/name` or `organization/name`. */
  readonly to: string;
  /** Of a repository that is made for it; default: the account's own default. One that is there already stays as it is. */
  readonly private?: boolean | undefined;
  /** Branch, made where it is not there; default "main". */
  readonly revision?: string | undefined;
  /** First line of the commit. */
  readonly message?: string | undefined;
  readonly offline?: boolean | undefined;
  readonly onProgress?: OnProgress | undefined;
}

/** What was uploaded. */
export interface PushResult {
  /** Page of the repository. */
  readonly url: string;
  readonly commit: string;
  /** The repository was made for it. */
  readonly isNew: boolean;
  /** Paths in the repository. */
  readonly files: readonly string[];
  readonly warnings: readonly string[];
}

/** Longest wait for an answer to a small request; an upload's comes only when all has arrived. */
const ANSWER_MS = 15_000;
const UPLOAD_MS = 3_600_000;

/** Uploads an adapter or a merged model to the Hub as one commit: the repository is made where it is not there, and holds
 *  either all files or none of them.
 *  @throws InputError for a name that is none, and files that are damaged or hold weights that are not finite; NotFoundError, UnsupportedError for a folder that is neither; NetworkError
 *  (no connection, or offline); LowrankError ("access") without a token, or where it may not write */
export async function pushFolder(options: PushOptions): Promise<PushResult> {
  const name = checkName(options.to);
  const branch = checkBranch(options.revision);
  const files = await publishedFiles(options.folder);
  await checkPublished(files, options.signal);
  if (isOffline({ offline: options.offline }))
    throw new NetworkError(`offline: would upload ${files.length} files to ${hubUrlOf(options)}/${name}`);
  const hub = accessOf(name, options);
  const repo = { type: "model" as const, name };
  return asPush(
    name,
    hub.hubUrl,
    () => options.signal?.aborted === true,
    async () => {
      const isNew = await makeRepo(repo, hub, options.private);
      if (branch !== "main") await makeBranch(repo, hub, branch);
      const commit = await upload({ repo, hub, branch, files, options });
      const url = `${hub.hubUrl}/${name}`;
      return {
        url,
        commit,
        isNew,
        files: files.map((f) => f.path),
        warnings: await warningsOf(options, files, isNew),
      };
    },
  );
}

function checkName(to: string): string {
  const id = parseHubId(to);
  if (id !== null && id.file === null && id.revision === null && id.name.length <= 96) return id.name;
  const hint = id?.revision ? "; the branch is an option of its own (revision)" : "";
  throw new InputError("the folder cannot be uploaded:", [
    { where: "to", message: `expected user/name (letters, digits, "-", "_" and "."), got "${to}"${hint}` },
  ]);
}

function checkBranch(revision = "main"): string {
  if (/^[\w][\w./-]*$/.test(revision) && !revision.includes("..")) return revision;
  throw new InputError("the folder cannot be uploaded:", [
    { where: "revision", message: `expected the name of a branch, got "${revision}"` },
  ]);
}

interface Hub {
  readonly hubUrl: string;
  readonly accessToken: string;
  /** For requests that are answered at once, and for those that carry files. */
  readonly ask: typeof fetch;
  readonly send: typeof fetch;
}

type Repo = { readonly type: "model"; readonly name: string };

/** @throws LowrankError ("access") without a token */
function accessOf(name: string, options: PushOptions): Hub {
  const hubUrl = hubUrlOf(options);
  const accessToken = tokenOf(options) ?? "";
  if (!accessToken.startsWith("hf_")) {
    const found = accessToken === "" ? "there is none" : 'what is there does not begin with "hf_"';
    throw new LowrankError(
      "access",
      `uploading to ${name} needs a token in HF_TOKEN, and ${found}: make one with write access at ${hubUrl}/settings/tokens`,
    );
  }
  const within = (answerTimeoutMs: number): HubAccess => ({
    answerTimeoutMs,
    ...options,
    token: accessToken,
  });
  // That something is there already is an answer, not a failure.
  return {
    ...{ hubUrl, accessToken },
    ask: hubApiFetch(name, within(ANSWER_MS), [409]),
    send: hubApiFetch(name, within(UPLOAD_MS)),
  };
}

/** An error of access is told as one of writing. */
async function asPush<T>(
  name: string,
  hubUrl: string,
  isAborted: () => boolean,
  push: () => Promise<T>,
): Promise<T> {
  try {
    return await push();
  } catch (error) {
    if (error instanceof LowrankError && error.code === "access")
      throw new LowrankError(
        "access",
        `the token in HF_TOKEN may not write to ${name}: it needs write access (${hubUrl}/settings/tokens), and ` +
          `"${name.split("/")[0]}" must be its account or an organization of it`,
        { cause: error },
      );
    if (error instanceof LowrankError || isAborted()) throw error;
    // The client library reads answers as the Hub's, whoever gave them.
    const message = (error as Error).message.slice(0, 300);
    throw new NetworkError(`${name}: the Hub's answer cannot be used (${message})`, { cause: error });
  }
}

/** Whether `make` made what was not there. */
async function madeNew(make: () => Promise<unknown>): Promise<boolean> {
  try {
    await make();
    return true;
  } catch (error) {
    if (error instanceof HubApiError && error.statusCode === 409) return false;
    throw error;
  }
}

function makeRepo(repo: Repo, hub: Hub, isPrivate: boolean | undefined): Promise<boolean> {
  const { hubUrl, accessToken, ask } = hub;
  const visibility =
    isPrivate === undefined ? {} : ({ visibility: isPrivate ? "private" : "public" } as const);
  return madeNew(() => createRepo({ repo, hubUrl, accessToken, fetch: ask, ...visibility }));
}

function makeBranch(repo: Repo, { hubUrl, accessToken, ask }: Hub, branch: string): Promise<boolean> {
  return madeNew(() => createBranch({ repo, branch, hubUrl, accessToken, fetch: ask }));
}

interface Upload {
  readonly repo: Repo;
  readonly hub: Hub;
  readonly branch: string;
  readonly files: readonly PublishedFile[];
  readonly options: PushOptions;
}

/** One commit of all files. Returns its id. */
async function upload({ repo, hub, branch, files, options }: Upload): Promise<string> {
  const { onProgress, signal, message } = options;
  const { hubUrl, accessToken, send } = hub;
  const events = commitIter({
    ...{ repo, branch, hubUrl, accessToken, fetch: send, useXet: false },
    title: message ?? `Upload ${repo.name.split("/")[1]} with lowrank`,
    operations: files.map(({ path, file }) => ({
      operation: "addOrUpdate",
      path,
      content: pathToFileURL(file),
    })),
    ...(signal ? { abortSignal: signal } : {}),
  });
  const sizes = new Map(files.map((f) => [f.path, f.sizeBytes]));
  for (;;) {
    const { done, value } = await events.next();
    if (done) return (value as CommitOutput).commit.oid;
    if (value.event !== "fileProgress" || value.state !== "uploading") continue;
    const totalBytes = sizes.get(value.path) ?? 0;
    onProgress?.({ what: `uploading ${value.path}`, doneBytes: value.progress * totalBytes, totalBytes });
  }
}

async function warningsOf(
  options: PushOptions,
  files: readonly PublishedFile[],
  isNew: boolean,
): Promise<string[]> {
  const warnings: string[] = [];
  if (!isNew && options.private !== undefined)
    warnings.push(`${options.to} was there already: whether it is private was left as it is`);
  const config = files.find((f) => f.path === "adapter_config.json");
  const base = config ? await baseModelOfAdapter(config.folder) : null;
  if (base !== null && (await hubModelId(base)) === null)
    warnings.push(`the adapter names its base model as ${base}, which is no Hub id: others will not find it`);
  return warnings;
}
