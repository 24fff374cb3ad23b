import { XfsError } from '../errors.ts'
import { ExtentSet } from '../util/extentset.ts'
import type { Device } from './device.ts'

/** A device that reads everything: what cannot be read is zeros. */
export interface Salvage extends Device {
  /** Bytes that could not be read, and were not written since. */
  readonly unreadable: ExtentSet
}

/** After an error a range is read in pieces of these sizes, in bytes: the last is a sector. */
const PIECES = [2 ** 16, 4096, 512] as const

/**
 * Read what can be read of `base`. Each sector that cannot be read is read as zeros, and recorded.
 * @param missing  bytes at the end of `base` that are known not to be there
 */
export function salvage(base: Device, missing?: { readonly start: number; readonly length: number }): Salvage {
  const unreadable = new ExtentSet()
  if (missing) unreadable.add(missing.start, missing.length)

  function read(into: Uint8Array, position: number, level: number): void {
    try {
      base.read(into, position)
    } catch (error) {
      if (!(error instanceof XfsError) || error.code !== 'IO') throw error
      const size = PIECES[level]
      if (size === undefined || (level === PIECES.length - 1 && into.length <= size)) {
        into.fill(0)
        unreadable.add(position, into.length)
        return
      }
      for (let done = 0; done < into.length; ) {
        // Up to the next multiple of the size.
        const length = Math.min(size - ((position + done) % size), into.length - done)
        read(into.subarray(done, done + length), position + done, level + 1)
        done += length
      }
    }
  }

  const written = (position: number, length: number): void => unreadable.remove(position, length)
  const { behind } = base
  return {
    size: base.size,
    readOnly: base.readOnly,
    unreadable,
    read(into, position) {
      for (let done = 0; done < into.length; ) {
        const { inside, length } = unreadable.run(position + done, into.length - done)
        const part = into.subarray(done, done + length)
        if (inside) part.fill(0)
        else read(part, position + done, 0)
        done += length
      }
    },
    write(bytes, position) {
      base.write(bytes, position)
      written(position, bytes.length)
    },
    zero(position, length) {
      base.zero(position, length)
      written(position, length)
    },
    ...(behind && {
      behind: {
        write(bytes: Uint8Array, position: number) {
          behind.write(bytes, position)
          written(position, bytes.length)
        },
        settle: () => behind.settle(),
      },
    }),
    flush: () => base.flush(),
    close: () => base.close(),
  }
}

export const isSalvage = (device: Device): device is Salvage => 'unreadable' in device
