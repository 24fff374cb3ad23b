import { constants, openSync, statSync, writeSync } from 'node:fs'
import { Gzip } from 'minizlib'
import { guarded } from '../device/file.ts'
import type { HostPath } from '../device/hostpath.ts'
import { XfsError } from '../errors.ts'
import type { Steps } from '../util/progress.ts'
import { sleep } from '../util/sleep.ts'
import { hostMessage } from './hostwalk.ts'

/** A sequential output. */
export interface ByteSink {
  write(bytes: Uint8Array): void
  /** The end of the output: everything is written when this returns. */
  end(): void
}

const BUFFER = 2 ** 20

/** The output failed, not the file that is being copied. */
export class SinkError extends XfsError {
  constructor(name: string, cause: unknown) {
    const { code } = cause as NodeJS.ErrnoException
    const isFull = code === 'ENOSPC' || code === 'EDQUOT'
    super(isFull ? 'NOSPC' : 'IO', `cannot write ${name}: ${hostMessage(cause)}`, {}, { cause })
  }
}

/**
 * Collect bytes, compress them if requested, and pass them to `write`.
 * @throws errors of `write`
 */
export function gatheringSink(write: (bytes: Uint8Array) => void, gzip = false): ByteSink {
  const buffer = Buffer.allocUnsafe(BUFFER)
  let used = 0
  const flush = (): void => {
    write(buffer.subarray(0, used))
    used = 0
  }
  const plain: ByteSink = {
    write(bytes) {
      if (used + bytes.length > BUFFER) flush()
      if (bytes.length > BUFFER) write(bytes)
      else {
        buffer.set(bytes, used)
        used += bytes.length
      }
    },
    end: flush,
  }
  return gzip ? compressed(plain) : plain
}

/**
 * Write to an open file.
 * @param name of the file, for messages
 * @throws SinkError
 */
export const hostSink = (fd: number, name: string, gzip = false): ByteSink =>
  gatheringSink((bytes) => {
    try {
      writeWaiting(fd, bytes)
    } catch (error) {
      throw new SinkError(name, error)
    }
  }, gzip)

/** Milliseconds between two checks whether a fifo has a reader. */
const POLL_MS = 20

/**
 * Open an existing device or fifo for writing. Waiting for the reader of a fifo can be interrupted.
 * @returns a non-blocking file descriptor, for `hostSink`
 * @throws XfsError IO
 */
export function* openStream(path: HostPath): Steps<number> {
  for (;;) {
    try {
      return guarded(path, 'write', () => openSync(path, constants.O_WRONLY | (constants.O_NONBLOCK ?? 0)))
    } catch (error) {
      const { code } = (error as XfsError).cause as NodeJS.ErrnoException
      if (code !== 'ENXIO' || !statSync(path).isFIFO()) throw error
    }
    sleep(POLL_MS)
    yield { what: 'waiting for a reader', done: 0 }
  }
}

function compressed(to: ByteSink): ByteSink {
  const zip = new Gzip({ portable: true })
  zip.on('data', (bytes) => to.write(bytes as Buffer))
  return {
    // The caller may change the bytes after this returns.
    write: (bytes) => void zip.write(Buffer.from(bytes)),
    end() {
      zip.end()
      to.end()
    },
  }
}

/** Write all bytes, waiting while a fifo is full. @throws an error of the host */
function writeWaiting(fd: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length; ) {
    try {
      done += writeSync(fd, bytes, done)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error
      sleep(1)
    }
  }
}
