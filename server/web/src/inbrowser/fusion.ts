// Tokens to calibrated probabilities: the fusion network, the temperature of the subset, doubt.
import { type Manifest, type Modality, SENSES, Unable, subsetKey } from "./manifest";
import type { Network, Tensor } from "./networks";
import type { Tokens } from "./tokens";

/** How much is believed of an answer that rests on nothing which the encoders can judge. */
const BELIEF = 0.25;

export class Fusion {
  constructor(
    private readonly network: Network,
    private readonly manifest: Manifest,
  ) {
    if (network.inputs.includes("memory"))
      throw new Unable(
        "The server’s bundle is made for conversations, which this page does not run. Ask the server instead.",
      );
  }

  get labels(): readonly string[] {
    return this.manifest.label_set.labels;
  }

  /** Probabilities in the order of the labels. */
  async answer(tokens: Partial<Record<Modality, Tokens>>, doubtful: boolean): Promise<number[]> {
    const feed: Record<string, Tensor> = {};
    for (const modality of SENSES) {
      const width = this.manifest.fusion.widths[modality];
      if (width === undefined) continue;
      const given = tokens[modality];
      const count = given?.count ?? 1;
      // What is missing is one token that nobody looks at.
      feed[modality] = { data: given?.data ?? new Float32Array(width), dims: [1, count, width] };
      feed[`${modality}_present`] = { data: new Uint8Array(count).fill(given ? 1 : 0), dims: [1, count] };
    }
    const told = await this.network.run(feed, ["scores"]);
    const scores = [...(told["scores"]!.data as Float32Array)].slice(0, this.labels.length);
    const key = subsetKey(Object.keys(tokens) as Modality[]);
    const temperature = this.manifest.calibration.temperatures[key] ?? 1;
    const tempered = scores.map((score) => score / temperature);
    const most = Math.max(...tempered);
    const raised = tempered.map((score) => Math.exp(score - most));
    const sum = raised.reduce((all, each) => all + each, 0);
    const shares = raised.map((each) => each / sum);
    return doubtful ? shares.map((share) => BELIEF * share + (1 - BELIEF) / shares.length) : shares;
  }

  /** Confidence below which an answer on these modalities counts as unsure; nothing where none was chosen. */
  threshold(modalities: readonly Modality[]): number | undefined {
    return this.manifest.calibration.thresholds[subsetKey(modalities)];
  }
}
