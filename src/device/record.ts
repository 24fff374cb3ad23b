import type { Device } from './device.ts'
import { overlay } from './overlay.ts'

/** The calls to a device, in order. */
export type DeviceEvent =
  | { readonly kind: 'write'; readonly position: number; readonly bytes: Uint8Array }
  | { readonly kind: 'zero'; readonly position: number; readonly length: number }
  | { readonly kind: 'flush' }

export interface Recorder extends Device {
  readonly events: readonly DeviceEvent[]
}

/** Forward everything to `base` and record writes and flushes in order: for crash tests. */
export function record(base: Device): Recorder {
  const events: DeviceEvent[] = []
  return {
    size: base.size,
    readOnly: base.readOnly,
    events,
    read: (into, position) => base.read(into, position),
    write(bytes, position) {
      base.write(bytes, position)
      events.push({ kind: 'write', position, bytes: new Uint8Array(bytes) })
    },
    zero(position, length) {
      base.zero(position, length)
      events.push({ kind: 'zero', position, length })
    },
    flush() {
      base.flush()
      events.push({ kind: 'flush' })
    },
    close: () => base.close(),
  }
}

/**
 * The device after the first `count` events: an overlay over `before`, its state before the
 * recording.
 */
export function deviceAfter(before: Device, events: readonly DeviceEvent[], count: number): Device {
  const device = overlay(before)
  for (const event of events.slice(0, count)) {
    if (event.kind === 'write') device.write(event.bytes, event.position)
    else if (event.kind === 'zero') device.zero(event.position, event.length)
  }
  return device
}
