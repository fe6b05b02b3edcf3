// Filled in by the build: which ONNX Runtime the page was made for.
declare const __ORT_VERSION__: string;
declare const __ORT_SHA256__: string;
