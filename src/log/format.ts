import type { Device } from '../device/device.ts'
import { BASIC_BLOCK, type Geometry } from '../format/geometry.ts'
import { LogWriter } from './records.ts'

/**
 * Format the log: discard its content, and begin at `cycle` with one unmount record. If this is
 * interrupted, the log may be unreadable and must be formatted again.
 *
 * @param unit the log's stripe unit in bytes
 * @source xfsprogs libxfs: all blocks are written with the previous cycle, so that the head is
 *   found
 */
export function formatLog(device: Device, geometry: Geometry, cycle: number, unit = geometry.sb.logsunit): void {
  stamp(device, geometry, cycle - 1)
  const head = { cycle, block: 0 }
  const log = { ...geometry, sb: { ...geometry.sb, logsunit: unit } }
  new LogWriter(device, log, { clean: true, head, tail: head }).unmount()
  device.flush()
}

/** Stamp every block with an earlier cycle; with cycle 0 as a new log. */
function stamp(device: Device, geometry: Geometry, cycle: number): void {
  const start = geometry.fsbToDaddr(geometry.sb.logstart) * BASIC_BLOCK
  const length = geometry.sb.logblocks * geometry.blocksize
  device.zero(start, length)
  if (cycle === 0) return
  const chunk = new Uint8Array(2 ** 20)
  const view = new DataView(chunk.buffer)
  for (let at = 0; at < chunk.length; at += BASIC_BLOCK) view.setUint32(at, cycle)
  for (let at = 0; at < length; at += chunk.length)
    device.write(chunk.subarray(0, Math.min(chunk.length, length - at)), start + at)
}
