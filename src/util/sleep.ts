/**
 * Block this thread. Use it for short waits only: signals and messages are not handled meanwhile.
 */
export const sleep = (ms: number): void => void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
