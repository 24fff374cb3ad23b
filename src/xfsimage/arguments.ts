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

type Check = (name: string, value: unknown) => boolean

const isBoolean: Check = (_, value) => typeof value === 'boolean'
const isFunction: Check = (_, value) => typeof value === 'function'
const isPosition: Check = (_, value) => (typeof value === 'bigint' || Number.isInteger(value)) && Number(value) >= 0
const isDepth: Check = (_, value) => value === Number.POSITIVE_INFINITY || isPosition('', value)
// Not by `instanceof`: there are signals of other realms.
const isSignal: Check = (_, value) => typeof (value as AbortSignal | null)?.throwIfAborted === 'function'

/** Options that mean the same in all methods; others are checked where they are used. */
const checks: Readonly<Record<string, Check>> = {
  ...Object.fromEntries(
    [
      'devices', 'dryRun', 'expert', 'follow', 'force', 'gzip', 'keepSize', 'needsRepair', 'oneFileSystem', 'partial', 'paths', 'recursive',
      'sorted', 'sparse', 'tar', 'whole', 'withFileTypes', 'write', 'xattrs',
    ].map((name) => [name, isBoolean]),
  ),
  ...Object.fromEntries(['srcOffset', 'dstOffset', 'offset', 'length', 'start'].map((name) => [name, isPosition])),
  ...Object.fromEntries(
    ['onError', 'onProblem', 'onProgress', 'onRemove', 'onState', 'onWarning', 'print', 'readHost', 'result', 'warn'].map((name) => [name, isFunction]),
  ),
  end: isDepth,
  maxDepth: isDepth,
  minDepth: isDepth,
  signal: isSignal,
} // biome-ignore format: a table

/** The options of a method. @throws XfsError INVAL, with the name of the option */
export function optionsOf<Options extends object>(options: Options): Options {
  requireObject('options', options)
  for (const [name, value] of Object.entries(options))
    if (value !== undefined && Object.hasOwn(checks, name) && !checks[name]?.(name, value)) throw invalid(name, value)
  return options
}

/** @throws XfsError INVAL */
export function requireObject(what: string, value: unknown): void {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw invalid(what, value)
}

/** An array, or anything else to iterate, but no text. @throws XfsError INVAL */
export function iterableOf<Value extends object>(what: string, value: Value): Value {
  if (typeof value === 'object' && value !== null && (Symbol.iterator in value || Symbol.asyncIterator in value))
    return value
  throw invalid(what, value)
}

/** A number that may name nothing: what there is none of is found later. @throws XfsError INVAL */
export const integerOf = (what: string, value: number): number => idOf(what, value, Number.NEGATIVE_INFINITY)

/** A user, group, project or inode number; −1 where it stands for no change. @throws XfsError INVAL */
export function idOf(what: string, id: number, least = 0): number {
  if (Number.isInteger(id) && id >= least) return id
  throw invalid(what, id)
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
