// What a bundle says of itself, as far as a page needs it.
export const SENSES = ["text", "audio", "video"] as const;
export type Modality = (typeof SENSES)[number];

export interface FileEntry {
  file: string;
  size_bytes: number;
  sha256: string;
}

export interface EncoderEntry {
  network: FileEntry;
  assets: Record<string, FileEntry>;
  width: number;
  tokens_per_second: number;
  precision: string;
  preprocessing: Record<string, unknown>;
}

export interface Manifest {
  profile: string;
  version: string;
  minimum_runtime: number;
  encoders: Partial<Record<Modality, EncoderEntry>>;
  label_set: { name: string; labels: string[] };
  fusion: { network: FileEntry; widths: Partial<Record<Modality, number>>; ratings?: string[]; model: string };
  calibration: { temperatures: Record<string, number>; thresholds: Record<string, number> };
}

/** The newest kind of bundle that this page runs. */
const RUNTIME = 7;

/** A sentence for the person: what does not work, and what to do. */
export class Unable extends Error {}

export function parsed(bytes: Uint8Array): Manifest {
  const manifest = JSON.parse(new TextDecoder().decode(bytes)) as Partial<Manifest>;
  if ((manifest.minimum_runtime ?? Infinity) > RUNTIME)
    throw new Unable("The server’s bundle is newer than this page. Load the page again; if it stays so, update the server.");
  if (!manifest.fusion || !manifest.label_set)
    throw new Unable("The server’s bundle has encoders alone and says nothing. Its operator must build one with a fusion.");
  return manifest as Manifest;
}

/** How a set of modalities is named in calibrations: in order, with a plus between. */
export function subsetKey(modalities: readonly Modality[]): string {
  return SENSES.filter((modality) => modalities.includes(modality)).join("+");
}
