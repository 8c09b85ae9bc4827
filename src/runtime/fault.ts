/** What went wrong with a device: its memory is full, a tensor is larger than its shaders take, or it is gone. */
export type DeviceFault = "memory" | "binding" | "lost";

// As ONNX Runtime 1.30, Dawn, Vulkan, Direct3D and CUDA say it.
const FAULTS: readonly (readonly [DeviceFault, RegExp])[] = [
  ["lost", /device (was |is |has been )?lost|DEVICE_LOST|DEVICE_REMOVED|DEVICE_HUNG/i],
  ["binding", /Too many storage buffers in shader|exceeding max(Storage)?Buffer/i],
  ["memory", /out[ _]of[ _]((device|host)[ _])?memory|OUTOFMEMORY|bad_alloc|Failed to allocate memory/i],
];

/** The fault that an error's message tells of; null for other errors. */
export function deviceFault(message: string): DeviceFault | null {
  return FAULTS.find(([, words]) => words.test(message))?.[0] ?? null;
}
