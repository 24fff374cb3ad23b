/** Block this thread. Waits for a moment only: signals and messages are not handled meanwhile. */
export const sleep = (ms: number): void => void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
