import type { Device } from '../../src/device/device.ts'
import { overlay } from '../../src/device/overlay.ts'
import type { DeviceEvent } from '../../src/device/record.ts'
import type { Random } from './random.ts'

/**
 * The state of a disk after a power cut:
 *
 *   write write FLUSH write write write │ cut
 *   ╰─ on disk ───╯     ╰ each of these is on disk, or not, or some of its sectors are
 *
 * The disk has a cache: writes since the last flush reach the medium in any order, or never. A
 * sector is written completely or not at all.
 */
export interface Cut {
  /** Number of events before the cut. */
  readonly at: number
  /** All of these are on the disk: the last of them is a flush. */
  readonly flushed: number
  /** The later events that are on the disk too. */
  readonly kept: readonly Kept[]
  readonly mode: string
}

interface Kept {
  readonly event: number
  /** The sectors of a torn write that are on the disk. */
  readonly sectors?: readonly boolean[]
}

const SECTOR = 512

/** The treatment of pending writes, by name; all have the same probability. */
const modes: Readonly<Record<string, (events: readonly DeviceEvent[], pending: number[], random: Random) => Kept[]>> = {
  'in order': (_, pending) => pending.map(whole),
  'last torn': (events, pending, random) =>
    pending.map((event, i) => (i === pending.length - 1 ? torn(events, event, random) : whole(event))),
  'one missing': (_, pending, random) => {
    const missing = random.int(pending.length)
    return pending.filter((_, i) => i !== missing).map(whole)
  },
  'one alone': (_, pending, random) => (pending.length === 0 ? [] : [whole(random.pick(pending))]),
  half: (_, pending, random) => pending.filter(() => random.chance(0.5)).map(whole),
  'any, torn': (events, pending, random) => {
    const [kept, tornPart] = [random.pick([0.1, 0.5, 0.9]), random.pick([0.1, 1])]
    return pending
      .filter(() => random.chance(kept))
      .map((event) => (random.chance(tornPart) ? torn(events, event, random) : whole(event)))
  },
}

const whole = (event: number): Kept => ({ event })

function torn(events: readonly DeviceEvent[], event: number, random: Random): Kept {
  const count = sectorsOf(events[event] as DeviceEvent)
  const edge = random.int(count + 1)
  const shape = random.int(3)
  const sectors = Array.from({ length: count }, (_, i) =>
    shape === 0 ? i < edge : shape === 1 ? i >= edge : random.chance(0.5),
  )
  return { event, sectors }
}

function sectorsOf(event: DeviceEvent): number {
  if (event.kind === 'flush') return 0
  const length = event.kind === 'write' ? event.bytes.length : event.length
  return Math.ceil(((event.position % SECTOR) + length) / SECTOR)
}

/**
 * Draw a cut: half of them anywhere, half of them in a range between two flushes that was drawn
 * first, so that short ranges are tested as well.
 */
export function drawCut(events: readonly DeviceEvent[], random: Random): Cut {
  const flushes = [0, ...events.flatMap((event, i) => (event.kind === 'flush' ? [i + 1] : []))]
  let at = random.int(events.length + 1)
  if (random.chance(0.5)) {
    const stretch = random.int(flushes.length)
    const start = flushes[stretch] as number
    at = start + random.int((flushes[stretch + 1] ?? events.length + 1) - start)
  }
  const flushed = flushes.findLast((flush) => flush <= at) as number
  const pending = Array.from({ length: at - flushed }, (_, i) => flushed + i)
  const mode = random.pick(Object.keys(modes))
  return { at, flushed, kept: (modes[mode] as (typeof modes)[string])(events, pending, random), mode }
}

/** The disk after the cut: an overlay over `base`, the disk before the first event. */
export function deviceAfterCut(base: Device, events: readonly DeviceEvent[], { flushed, kept }: Cut): Device {
  const device = overlay(base)
  for (let i = 0; i < flushed; i++) apply(device, events[i] as DeviceEvent)
  for (const { event, sectors } of kept) apply(device, events[event] as DeviceEvent, sectors)
  return device
}

function apply(device: Device, event: DeviceEvent, sectors?: readonly boolean[]): void {
  if (event.kind === 'flush') return
  const length = event.kind === 'write' ? event.bytes.length : event.length
  const put = (from: number, to: number): void => {
    if (event.kind === 'write') device.write(event.bytes.subarray(from, to), event.position + from)
    else device.zero(event.position + from, to - from)
  }
  const lead = event.position % SECTOR
  if (!sectors) put(0, length)
  for (const [i, there] of sectors?.entries() ?? []) {
    if (there) put(Math.max(0, i * SECTOR - lead), Math.min(length, (i + 1) * SECTOR - lead))
  }
}

/** For messages. */
export const describeCut = ({ at, flushed, kept, mode }: Cut, events: readonly DeviceEvent[]): string =>
  `after ${at} of ${events.length} events (${mode}): ${flushed} flushed, ${kept.length} of ${at - flushed} more on the disk`
