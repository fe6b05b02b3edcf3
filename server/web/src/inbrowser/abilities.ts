// What this browser can compute with, and what to do where it cannot.
export interface Abilities {
  /** Why the bundle cannot run here, and what to do; empty where it can. */
  unable: string;
  threads: number;
  /** How it is computed, in a sentence. */
  how: string;
}

// A function with one SIMD instruction, which only engines that have it take.
const SIMD = [
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11,
];
/** More threads than this gain nothing with networks of this size. */
const MOST_THREADS = 2;

export function abilities(): Abilities {
  const server = "Choose “the server”, or use a newer browser.";
  const cannot = (why: string): Abilities => ({ unable: `${why} ${server}`, threads: 0, how: "" });
  if (typeof WebAssembly !== "object") return cannot("This browser runs no WebAssembly.");
  if (!WebAssembly.validate(Uint8Array.from(SIMD)))
    return cannot("This browser’s WebAssembly has no SIMD, without which answers would take seconds.");
  if (!window.isSecureContext || !("caches" in window))
    return { ...cannot(""), unable: "Browsers keep and check files for https and localhost only. Ask for an address with https, or choose “the server”." };
  const shares = window.crossOriginIsolated && typeof SharedArrayBuffer === "function";
  const threads = shares ? Math.max(1, Math.min(MOST_THREADS, (navigator.hardwareConcurrency || 2) - 1)) : 1;
  const many = threads > 1 ? `${threads} threads` : shares ? "one thread" : "one thread, as this page may not share memory";
  return { unable: "", threads, how: `WebAssembly with SIMD, ${many}` };
}
