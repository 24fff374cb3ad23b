import { ExtentSet } from '../util/extentset.ts'
import { checkRange, checkWrite, type Device } from './device.ts'
import { Pages } from './pages.ts'

export interface Overlay extends Device {
  /** The bytes that differ, or may differ, from the base: disjoint, in order. */
  changed(): Iterable<{ readonly start: number; readonly length: number }>
  /** Bytes that the changes take in memory. */
  readonly held: number
}

/**
 * A writable device over `base`, which is never written: changes stay in memory (a dry run, a crash
 * image). Closing it closes `base`.
 */
export function overlay(base: Device): Overlay {
  const changes = new ExtentSet()
  /** Dropped ranges, in whole pages: they read as zero except in written pages. */
  const zeroed = new ExtentSet()
  const below = (into: Uint8Array, position: number): void => {
    for (let done = 0; done < into.length; ) {
      const { inside, length } = zeroed.run(position + done, into.length - done)
      const part = into.subarray(done, done + length)
      if (inside) part.fill(0)
      else base.read(part, position + done)
      done += length
    }
  }
  const pages = new Pages((page, position) => {
    below(page.subarray(0, Math.min(page.length, base.size - position)), position)
  })
  const device: Overlay = {
    size: base.size,
    readOnly: false,
    read(into, position) {
      checkRange(device, 'read', position, into.length)
      pages.read(into, position, below)
    },
    write(bytes, position) {
      checkWrite(device, position, bytes.length)
      pages.write(bytes, position)
      changes.add(position, bytes.length)
    },
    zero(position, length) {
      checkWrite(device, position, length)
      const dropped = pages.drop(position, length)
      zeroed.add(dropped.position, dropped.length)
      changes.add(position, length)
    },
    flush() {},
    close: () => base.close(),
    changed: () => changes,
    get held() {
      return pages.held
    },
  }
  return device
}
