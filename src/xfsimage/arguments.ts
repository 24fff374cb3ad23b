import type { Device } from '../device/device.ts'
import { memoryDevice } from '../device/memory.ts'
import { XfsError } from '../errors.ts'
import { type Bytes, exact } from '../util/bytes.ts'

/**
 * Programs without types can give a method anything. What a value would silently be taken for is
 * refused here, before anything changes: a flag that is not known, a mode that is a text.
 */

/** A range of a file, in bytes. */
export interface Range {
  /** Default: 0. */
  readonly offset?: Bytes
  /** Default: to EOF. */
  readonly length?: Bytes
}

const encoder = new TextEncoder()

const invalid = (what: string, value: unknown): XfsError =>
  new XfsError('INVAL', `${what}: ${typeof value === 'object' ? Object.prototype.toString.call(value) : String(value)}`)

/**
 * Content, or an attribute's name or value. Any view is taken for its bytes.
 * @throws XfsError INVAL
 */
export function bytesOf(data: string | ArrayBufferView): Uint8Array {
  if (typeof data === 'string') return encoder.encode(data)
  if (!ArrayBuffer.isView(data)) throw invalid('not text or bytes', data)
  return 'BYTES_PER_ELEMENT' in data && data.BYTES_PER_ELEMENT === 1
    ? (data as Uint8Array)
    : new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
}

/** Type and permissions, or permissions only. @throws XfsError INVAL */
export function modeOf(mode: number): number {
  if (!Number.isInteger(mode) || mode < 0 || mode > 0o177777) throw invalid('not a mode', mode)
  return mode
}

/** A position in a file, or a length. @throws XfsError INVAL */
export function positionOf(what: string, value: Bytes): Bytes {
  if ((typeof value === 'bigint' || Number.isInteger(value)) && value >= 0) return exact(value)
  throw invalid(what, value)
}

/** With defaults. @throws XfsError INVAL */
export const rangeOf = ({ offset = 0, length }: Range) => ({
  offset: positionOf('offset', offset),
  length: length === undefined ? undefined : positionOf('length', length),
})

/** One of the values that there are. @throws XfsError INVAL */
export function choiceOf<Value extends string>(what: string, value: Value, values: readonly Value[]): Value {
  if (values.includes(value)) return value
  throw invalid(`${what} is not one of ${values.join(', ')}`, value)
}

/** @throws XfsError INVAL */
export function requireDevice(target: Device): void {
  if (typeof target !== 'object' || target === null || typeof target.read !== 'function')
    throw invalid('neither an image nor a Device', target)
}

/** The bytes of an image are copied. Not by `instanceof`: those of another realm are bytes, too. */
export const deviceOf = (target: Device | ArrayBuffer | Uint8Array): Device => {
  if (ArrayBuffer.isView(target)) return memoryDevice(target.byteLength, bytesOf(target))
  if (typeof target === 'object' && target !== null && 'byteLength' in target)
    return memoryDevice(target.byteLength, new Uint8Array(target))
  requireDevice(target)
  return target
}
