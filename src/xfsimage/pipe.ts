import { once } from 'node:events'
import { PassThrough, type Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'

/** Synchronous output to a stream: what the stream does not take at once waits for `drained`. */
export interface Pipe {
  push(bytes: Uint8Array): void
  /** Wait until the stream can take more. @throws its errors */
  drained(): Promise<void> | undefined
  /** End the stream. @throws its errors */
  end(): Promise<void>
  /** End the stream with an error. @returns the error of the stream, if it is the reason */
  fail(error: unknown): Promise<unknown>
}

export function pipeTo(target: Writable | WritableStream, signal: AbortSignal | undefined): Pipe {
  const through = new PassThrough()
  const piping = pipeline(through, target as Writable, signal ? { signal } : {})
  const failure = piping.then(
    () => undefined,
    (error: unknown) => error,
  )
  return {
    // The bytes are in a buffer that is used again.
    push: (bytes) => void through.write(Uint8Array.from(bytes)),
    drained() {
      if (!through.writableNeedDrain && !through.destroyed) return undefined
      return Promise.race([once(through, 'drain').then(() => {}), piping])
    },
    end() {
      through.end()
      return piping
    },
    async fail(error) {
      if (!through.destroyed) through.destroy(error as Error)
      const own = await failure
      return signal?.aborted ? signal.reason : (own ?? error)
    },
  }
}
