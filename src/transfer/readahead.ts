import { constants } from 'node:fs'
import type { Xattr } from '../attr/xattrs.ts'
import { startWorker } from '../device/workers.ts'
import { getExact64 } from '../format/fields.ts'
import { viewOf } from '../util/view.ts'
import { type HostFacts, HostFile, type Walk, type WalkItem, walkHost } from './hostwalk.ts'

/**
 * The same walk by a worker, which reads ahead: small files come with their content. Records pass
 * through a few chunks of shared memory:
 *
 *   worker   walk ─▶ lstat, listxattr, open, read, close ─▶ records ─▶ chunks, or wait
 *   taker    chunks ─▶ records ─▶ files, or wait
 *
 * A record lacks parts that are too large or failed: the file then reads them itself and reports
 * errors.
 */
const CHUNK = 4 * 2 ** 20
const CHUNKS = 4
/** Maximum milliseconds before the worker sends an incomplete chunk. */
const FLUSH_MS = 20
const WAIT_MS = 50
/** Files that are read before a worker is started: starting one takes longer. */
const WITHOUT_WORKER = 512

/**
 * Words of the control block: chunks filled and taken so far, the state, then the bytes in each
 * chunk.
 */
const FILLED = 0
const TAKEN = 1
const STATE = 2
const LENGTHS = 3
const ENDED = 1
const FAILED = 2

export interface ReadAhead extends Walk {
  /** Larger contents are left to the reader. */
  readonly most: number
  readonly xattrs: boolean
}

export interface Shared {
  readonly control: Int32Array
  readonly chunks: readonly Uint8Array[]
}

/**
 * Walk the trees: without a worker at first, then with one. Undefined: nothing arrived for a while.
 */
export function* walkAhead(walk: ReadAhead): Generator<WalkItem | undefined> {
  yield* walkHost(walk, WITHOUT_WORKER)
  if (walk.places.length > 0) yield* fromWorker(walk)
}

function* fromWorker(walk: ReadAhead): Generator<WalkItem | undefined> {
  const shared: Shared = {
    control: new Int32Array(new SharedArrayBuffer(4 * (LENGTHS + CHUNKS))),
    chunks: Array.from({ length: CHUNKS }, () => new Uint8Array(new SharedArrayBuffer(CHUNK))),
  }
  const { control, chunks } = shared
  const worker = startWorker('transfer/reader.js', { walk, shared })
  if (!worker) {
    yield* walkHost(walk)
    return
  }
  let failure: Error | undefined
  worker.on('error', (error) => {
    failure = error
  })
  try {
    for (let taken = 0; ; taken++) {
      while (Atomics.load(control, FILLED) === taken) {
        if (failure) throw failure
        const state = Atomics.load(control, STATE)
        if (Atomics.load(control, FILLED) !== taken) break
        if (state === ENDED) return
        if (state === FAILED) throw new Error('reading ahead has failed')
        if (Atomics.wait(control, FILLED, taken, WAIT_MS) === 'timed-out') yield undefined
      }
      const slot = taken % CHUNKS
      yield* decode((chunks[slot] as Uint8Array).subarray(0, control[LENGTHS + slot]))
      Atomics.add(control, TAKEN, 1)
      Atomics.notify(control, TAKEN)
    }
  } finally {
    void worker.terminate()
  }
}

// ------------------------------------------------------------------------------------------ worker

/** The main function of the worker. */
export function readAhead(walk: ReadAhead, shared: Shared): void {
  const { control } = shared
  let state = FAILED
  try {
    fill(walk, shared)
    state = ENDED
  } finally {
    Atomics.store(control, STATE, state)
    Atomics.notify(control, FILLED)
  }
}

function fill(walk: ReadAhead, { control, chunks }: Shared): void {
  const seen = new Set<string>()
  let filled = 0
  let used = 0
  let start = performance.now()
  const flush = (): void => {
    if (used === 0) return
    control[LENGTHS + (filled % CHUNKS)] = used
    used = 0
    filled++
    Atomics.store(control, FILLED, filled)
    Atomics.notify(control, FILLED)
    for (let taken = Atomics.load(control, TAKEN); filled - taken === CHUNKS; taken = Atomics.load(control, TAKEN))
      Atomics.wait(control, TAKEN, taken)
    start = performance.now()
  }
  for (const found of walkHost(walk)) {
    if (CHUNK - used < LARGEST + walk.most) flush()
    used += encode(found, (chunks[filled % CHUNKS] as Uint8Array).subarray(used), walk, seen)
    if (performance.now() - start > FLUSH_MS) flush()
  }
  flush()
}

// ----------------------------------------------------------------------------------------- records

const ENTER = 0
const PROBLEM = 1
const FILE = 2
/** Marks a part that is not in the record. */
const ABSENT = 0xffffffff
const MOST_XATTRS = 2 ** 16
const HEAD = 120
/** Maximum bytes of a record without the content: paths have at most 4096 bytes. */
const LARGEST = HEAD + 5 * 4096 + MOST_XATTRS

/**
 * Lengths of the parts, which follow the head in this order: path, name, identity or message,
 * target, attributes, content.
 */
const LENGTH = { host: 8, name: 12, text: 16, target: 20, xattrs: 24, content: 28 } as const

function encode(found: WalkItem, into: Uint8Array, walk: ReadAhead, seen: Set<string>): number {
  const view = viewOf(into)
  let end = HEAD
  const put = (part: number, bytes: Uint8Array | undefined): void => {
    view.setUint32(part, bytes?.length ?? ABSENT)
    if (!bytes) return
    into.set(bytes, end)
    end += bytes.length
  }
  const finish = (kind: number): number => {
    end = (end + 7) & ~7
    view.setUint32(0, end)
    view.setUint32(4, kind)
    return end
  }
  if (found.kind === 'enter') {
    view.setUint32(LENGTH.host, found.id)
    return finish(ENTER)
  }
  if (found.kind === 'problem') {
    put(LENGTH.host, undefined)
    put(LENGTH.name, found.name)
    put(LENGTH.text, Buffer.from(found.message).subarray(0, 4096))
    return finish(PROBLEM)
  }
  const { file } = found
  const { facts } = file
  view.setUint32(32, facts.mode)
  view.setUint32(36, facts.uid)
  view.setUint32(40, facts.gid)
  view.setUint32(44, facts.links)
  view.setUint32(48, facts.id)
  view.setUint32(52, facts.major)
  view.setUint32(56, facts.minor)
  view.setUint32(60, facts.atime.nanoseconds)
  view.setUint32(64, facts.mtime.nanoseconds)
  view.setBigInt64(72, BigInt(facts.size))
  view.setFloat64(80, facts.allocated)
  view.setFloat64(88, facts.atime.seconds)
  view.setFloat64(96, facts.mtime.seconds)
  put(LENGTH.host, facts.host)
  put(LENGTH.name, facts.name)
  put(LENGTH.text, Buffer.from(facts.identity))
  const type = facts.mode & constants.S_IFMT
  put(LENGTH.target, type === constants.S_IFLNK ? attempt(() => file.target()) : undefined)
  put(LENGTH.xattrs, walk.xattrs ? attempt(() => packed(file.xattrs())) : undefined)
  const again = facts.identity !== '' && seen.has(facts.identity)
  if (facts.identity !== '') seen.add(facts.identity)
  const small = type === constants.S_IFREG && facts.size > 0 && facts.size <= walk.most && !again
  const length = small ? attempt(() => file.read(into.subarray(end, end + Number(facts.size)))) : undefined
  view.setUint32(LENGTH.content, length ?? ABSENT)
  end += length ?? 0
  return finish(FILE)
}

function attempt<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch {
    return undefined
  }
}

const NOTHING = new Uint8Array(0)

/** Names and values with their lengths; undefined if they are too large. */
function packed(list: readonly Xattr[]): Uint8Array | undefined {
  if (list.length === 0) return NOTHING
  const parts: Uint8Array[] = []
  let total = 0
  for (const { name, value } of list) {
    parts.push(new Uint8Array(Uint32Array.of(name.length, value.length).buffer), name, value)
    total += 8 + name.length + value.length
  }
  return total > MOST_XATTRS ? undefined : Buffer.concat(parts)
}

function unpacked(bytes: Uint8Array): Xattr[] {
  const list: Xattr[] = []
  for (let at = 0; at < bytes.length; ) {
    const [name, value] = new Uint32Array(bytes.slice(at, at + 8).buffer) as unknown as [number, number]
    at += 8
    list.push({ name: bytes.slice(at, at + name), value: bytes.slice(at + name, at + name + value) })
    at += name + value
  }
  return list
}

/** A file whose parts are in a record, valid until the next one is taken. */
class ReadFile extends HostFile {
  readonly #target: Uint8Array | undefined
  readonly #xattrs: Uint8Array | undefined
  readonly #content: Uint8Array | undefined

  constructor(
    facts: HostFacts,
    target: Uint8Array | undefined,
    xattrs: Uint8Array | undefined,
    content: Uint8Array | undefined,
  ) {
    super(facts)
    this.#target = target
    this.#xattrs = xattrs
    this.#content = content
  }

  override target(): Uint8Array {
    return this.#target?.slice() ?? super.target()
  }

  override xattrs(): readonly Xattr[] {
    return this.#xattrs ? unpacked(this.#xattrs) : super.xattrs()
  }

  override read(into: Uint8Array): number {
    if (!this.#content) return super.read(into)
    into.set(this.#content)
    return this.#content.length
  }
}

function* decode(chunk: Uint8Array): Generator<WalkItem> {
  const view = new DataView(chunk.buffer, 0, chunk.length)
  for (let at = 0; at < chunk.length; at += view.getUint32(at)) {
    const kind = view.getUint32(at + 4)
    if (kind === ENTER) {
      yield { kind: 'enter', id: view.getUint32(at + LENGTH.host) }
      continue
    }
    let end = at + HEAD
    const part = (which: number): Uint8Array | undefined => {
      const length = view.getUint32(at + which)
      if (length === ABSENT) return undefined
      end += length
      return chunk.subarray(end - length, end)
    }
    const copy = (which: number): Buffer => Buffer.from(part(which) ?? NOTHING)
    const host = copy(LENGTH.host)
    const name = copy(LENGTH.name)
    const text = part(LENGTH.text)
    const shown = text && text.length > 0 ? Buffer.from(text).toString() : ''
    if (kind === PROBLEM) {
      yield { kind: 'problem', name, message: shown }
      continue
    }
    const facts: HostFacts = {
      host,
      name,
      mode: view.getUint32(at + 32),
      uid: view.getUint32(at + 36),
      gid: view.getUint32(at + 40),
      links: view.getUint32(at + 44),
      size: getExact64(view, at + 72),
      allocated: view.getFloat64(at + 80),
      atime: { seconds: view.getFloat64(at + 88), nanoseconds: view.getUint32(at + 60) },
      mtime: { seconds: view.getFloat64(at + 96), nanoseconds: view.getUint32(at + 64) },
      major: view.getUint32(at + 52),
      minor: view.getUint32(at + 56),
      identity: shown,
      id: view.getUint32(at + 48),
    }
    const target = part(LENGTH.target)
    const xattrs = part(LENGTH.xattrs)
    yield { kind: 'file', file: new ReadFile(facts, target, xattrs, part(LENGTH.content)) }
  }
}
