import { zipSync } from "fflate";

/** Hands the files of an adapter to the user, as one archive that unpacks to a folder in PEFT's format. */
export function downloadAdapter(files: Readonly<Record<string, Uint8Array<ArrayBuffer>>>): void {
  const entries = Object.entries(files).map(([name, bytes]) => [`adapter/${name}`, bytes] as const);
  const archive = zipSync(Object.fromEntries(entries), { level: 0 }) as Uint8Array<ArrayBuffer>;
  const url = URL.createObjectURL(new Blob([archive], { type: "application/zip" }));
  const link = document.createElement("a");
  link.href = url;
  link.download = "adapter.zip";
  link.click();
  URL.revokeObjectURL(url);
}
