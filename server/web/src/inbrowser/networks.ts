// ONNX Runtime in WebAssembly: how it is started, and one network of a bundle.
import * as ort from "onnxruntime-web/wasm";
import glue from "onnxruntime-web/ort-wasm-simd-threaded.mjs?url";

export interface Tensor {
  data: Float32Array | BigInt64Array | Uint8Array;
  dims: readonly number[];
}

/** To be called once, before any network is opened. */
export function start(wasm: Uint8Array<ArrayBuffer>, threads: number): void {
  ort.env.logLevel = "error";
  ort.env.wasm.numThreads = threads;
  ort.env.wasm.wasmPaths = { mjs: new URL(glue, self.location.href).href };
  ort.env.wasm.wasmBinary = wasm.buffer;
}

export class Network {
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];

  private constructor(private readonly session: ort.InferenceSession) {
    this.inputs = session.inputNames;
    this.outputs = session.outputNames;
  }

  static async open(graph: Uint8Array): Promise<Network> {
    return new Network(await ort.InferenceSession.create(graph, { executionProviders: ["wasm"] }));
  }

  /** All outputs, or those that are named; bytes are truth values. */
  async run(feed: Record<string, Tensor>, wanted?: readonly string[]): Promise<Record<string, Tensor>> {
    const tensors = Object.fromEntries(Object.entries(feed).map(([name, tensor]) => [name, made(tensor)]));
    const found = wanted ? await this.session.run(tensors, wanted) : await this.session.run(tensors);
    return Object.fromEntries(
      Object.entries(found).map(([name, tensor]) => [name, { data: tensor.data as Float32Array, dims: tensor.dims }]),
    );
  }
}

function made({ data, dims }: Tensor): ort.Tensor {
  if (data instanceof Float32Array) return new ort.Tensor("float32", data, dims);
  if (data instanceof BigInt64Array) return new ort.Tensor("int64", data, dims);
  return new ort.Tensor("bool", data, dims);
}
