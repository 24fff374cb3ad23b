import { constants, openSync, statSync, writeSync } from 'node:fs'
import { Gzip } from 'minizlib'
import type { HostPath } from '../device/hostpath.ts'
import { XfsError } from '../errors.ts'
import type { Steps } from '../util/progress.ts'

/** Where bytes go, one behind the other. */
export interface ByteSink {
  write(bytes: Uint8Array): void
  /** No more follow: all of them have been written when this returns. */
  end(): void
}

const BUFFER = 2 ** 20

/** To an open file or pipe, gathered, and compressed where that is wanted. @throws XfsError IO, NOSPC */
export function hostSink(fd: number, gzip: boolean): ByteSink {
  const buffer = Buffer.allocUnsafe(BUFFER)
  let used = 0
  const flush = (): void => {
    writeAll(fd, buffer.subarray(0, used))
    used = 0
  }
  const plain: ByteSink = {
    write(bytes) {
      if (used + bytes.length > BUFFER) flush()
      if (bytes.length > BUFFER) writeAll(fd, bytes)
      else {
        buffer.set(bytes, used)
        used += bytes.length
      }
    },
    end: flush,
  }
  return gzip ? compressed(plain) : plain
}

/** Between two looks whether a fifo has a reader. */
const LOOK_MS = 20

/**
 * Open a device or fifo that exists, for writing. A fifo has no reader at first: the work can be ended while it waits for one.
 * @returns a file descriptor that does not block, for `hostSink`
 * @throws an error of the host
 */
export function* openStream(path: HostPath): Steps<number> {
  for (;;) {
    try {
      return openSync(path, constants.O_WRONLY | (constants.O_NONBLOCK ?? 0))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENXIO' || !statSync(path).isFIFO()) throw error
    }
    wait(LOOK_MS)
    yield { what: 'waiting for a reader', done: 0 }
  }
}

const wait = (ms: number): void => void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)

function compressed(to: ByteSink): ByteSink {
  const zip = new Gzip({ portable: true })
  zip.on('data', (bytes) => to.write(bytes as Buffer))
  return {
    // What is handed over may change when this returns.
    write: (bytes) => void zip.write(Buffer.from(bytes)),
    end() {
      zip.end()
      to.end()
    },
  }
}

function writeAll(fd: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length; ) {
    try {
      done += writeSync(fd, bytes, done)
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException
      if (code === 'EAGAIN') wait(1)
      else
        throw new XfsError(
          code === 'ENOSPC' || code === 'EDQUOT' ? 'NOSPC' : 'IO',
          `cannot write: ${message}`,
          {},
          { cause: error },
        )
    }
  }
}
