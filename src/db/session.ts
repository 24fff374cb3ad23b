import type { Device } from '../device/device.ts'
import { XfsError } from '../errors.ts'
import { AG_SECTORS } from '../format/ag.ts'
import { DINODE_MAGIC, Dinode, FILE_TYPES, S_IFMT } from '../format/dinode.ts'
import { Dqblk } from '../format/dquot.ts'
import { BASIC_BLOCK, type Geometry } from '../format/geometry.ts'
import { Superblock } from '../format/sb.ts'
import { crcIsRight } from '../format/verify/units.ts'
import { findRoots } from '../roots/roots.ts'
import { escapeJson } from '../util/escape.ts'
import { jsonValue } from '../util/json.ts'
import { viewOf } from '../util/view.ts'
import { Volume } from '../volume.ts'
import { openImage } from './image.ts'
import { faultOf, type Kind, type KindName, knownKind, sizeOf, stampKind } from './kinds.ts'

/**
 * A session of `db`: the current place, its type, and the previous places. Positions are plain
 * values. Reading and writing bypass caches and verifiers, because damage is the purpose. A fault
 * that a verifier finds at a new position is reported, and never a reason to refuse it.
 *
 *   stack    explicit: push and pop
 *   ring     the last places, implicit: back and forward
 */
export interface Position {
  readonly kind: Kind | undefined
  /** Start of the buffer, in basic blocks, and its length. */
  readonly bb: number
  readonly blen: number
  /** The extents of a directory block that is not contiguous. */
  readonly pieces: readonly BbRange[] | undefined
  readonly bytes: Uint8Array
  /** Offset of the object within the buffer. */
  readonly boff: number
  readonly len: number
  /** The inode of the last `inode` command; −1 for none. */
  readonly ino: number
  readonly dirino: number
  readonly mode: number
}

export interface BbRange {
  readonly bb: number
  readonly blen: number
}

export interface DbSessionOptions {
  readonly device: Device
  readonly geometry: Geometry
  /** The program name in messages. */
  readonly program: string
  /** Name of the image, for messages. */
  readonly image: string
  /** The commands that change something are available. */
  readonly expert: boolean
  readonly readOnly: boolean
  readonly json: boolean
  readonly print: (text: string) => void
  /** Writes messages that are not output. */
  readonly warn: (text: string) => void
  /** The lines of a file on the host, for `source`; undefined if it cannot be read. */
  readonly lines: (path: string) => readonly string[] | undefined
}

/**
 * A command that cannot be carried out. As in xfs_db, the message is its output, and the session
 * continues.
 */
export class Refusal extends Error {
  override readonly name = 'Refusal'
}

/** An unknown command, or the wrong number of arguments. */
export class Unknown extends Refusal {}

export const RING_ENTRIES = 20

const nowhere = (from?: Position): Position => ({
  kind: undefined,
  bb: 0,
  blen: 0,
  pieces: undefined,
  bytes: new Uint8Array(0),
  boff: 0,
  len: 0,
  ino: from?.ino ?? -1,
  dirino: from?.dirino ?? -1,
  mode: from?.mode ?? 0,
})

export class DbSession {
  readonly options: DbSessionOptions
  /** From the superblock; read again after a command changed it. */
  geometry: Geometry
  exitCode = 0
  /** An unknown command or wrong arguments: xfs_db's exit status does not show that. */
  misused = false
  /** The AG that `agf` and AG block numbers refer to; −1 for none. */
  agno = -1
  /** With `json`: why the last command was refused. */
  refused: string | undefined
  #text = ''
  #records: Readonly<Record<string, unknown>>[] = []
  readonly #stack: Position[] = [nowhere()]
  readonly #ring: { entries: (Position | undefined)[]; head: number; tail: number; current: number } = {
    entries: new Array(RING_ENTRIES).fill(undefined),
    head: -1,
    tail: -1,
    current: -1,
  }

  constructor(options: DbSessionOptions) {
    this.options = options
    this.geometry = options.geometry
  }

  /** Text is collected with `json`, for `answer`. */
  print(text: string): void {
    if (this.options.json) this.#text += text
    else this.options.print(text)
  }

  /** Write a line of output. */
  line(text: string): void {
    this.print(`${text}\n`)
  }

  /** Write a result: a record with `json`, else lines of text. */
  result(kind: string, values: Readonly<Record<string, unknown>>, text: string): void {
    if (this.options.json) this.#records.push({ kind, ...values })
    else this.line(text)
  }

  /** Write a line that explains results, such as the heads of columns: not with `json`. */
  caption(text: string): void {
    if (!this.options.json) this.line(text)
  }

  /** With `json`: write a document. */
  document(json: string): void {
    this.options.print(`${escapeJson(json)}\n`)
  }

  /** With `json`: write the results and the text of a command as a document. */
  answer(command: string): void {
    const output = this.#text.split('\n').slice(0, -1)
    const records = this.#records
    const { refused } = this
    this.#text = ''
    this.#records = []
    this.refused = undefined
    if (output.length + records.length === 0 && refused === undefined) return
    const answer = { schema: 'xfskit.db.command', version: 1, command, records, output, refused }
    this.document(JSON.stringify(answer, jsonValue))
  }

  get here(): Position {
    return this.#stack[this.#stack.length - 1] as Position
  }

  private set here(position: Position) {
    this.#stack[this.#stack.length - 1] = position
  }

  get kind(): Kind | undefined {
    return this.here.kind
  }

  /** The bytes of the current place; nothing before the first command that selects one. */
  view(position = this.here): DataView {
    const { bytes, boff, len } = position
    const from = Math.min(boff, bytes.length)
    return new DataView(bytes.buffer, bytes.byteOffset + from, Math.min(len, bytes.length - from))
  }

  // ---------------------------------------------------------------------------------------- places

  /** Go to `bytes` from basic block `bb` on, as `kind`. */
  go(kind: Kind, bb: number, bytes: number, how: { ring: boolean; pieces?: readonly BbRange[] }): void {
    const before = this.here
    // Keep an empty place below the first one, as the target of `pop`.
    if (this.#stack.length === 1) this.#stack.push(nowhere(before))
    this.here = nowhere(before)
    const blen = Math.ceil(bytes / BASIC_BLOCK)
    const pieces = how.pieces && how.pieces.length > 1 ? how.pieces : undefined
    const content = this.#read(pieces ?? [{ bb, blen }])
    const len = kind.name === 'dqblk' ? Dqblk.size : content.length
    this.here = { ...nowhere(before), kind, bb, blen, pieces, bytes: content, boff: 0, len }
    this.#complain(kind, bb)
    if (how.ring) this.#remember()
  }

  /** Go to one of the headers of an AG. */
  goHeader(name: 'sb' | 'agf' | 'agi' | 'agfl', agno: number, how = { ring: true }): void {
    const { geometry } = this
    this.go(this.kindOf(name), geometry.agHeaderDaddr(agno, AG_SECTORS[name]), geometry.sectsize, how)
  }

  /** Go to an inode, in the buffer of its cluster. @throws Refusal for an invalid number */
  goInode(ino: number, how: { quiet?: boolean } = {}): void {
    const { geometry } = this
    const agno = geometry.inoAgno(ino)
    const agino = geometry.inoAgino(ino)
    const agbno = geometry.aginoAgbno(agino)
    if (!Number.isSafeInteger(ino) || ino < 0 || agno >= geometry.agcount || agbno >= geometry.agblocks) {
      throw new Refusal(`bad inode number ${ino}`)
    }
    this.agno = agno
    const cluster = clusterOf(geometry, agbno)
    this.go(this.kindOf('inode'), geometry.daddr(agno, cluster.agbno), cluster.blocks * geometry.blocksize, {
      ring: false,
    })
    const boff = (agbno - cluster.agbno) * geometry.blocksize + geometry.aginoIndex(agino) * geometry.inodesize
    const mode = Dinode.fields.mode.get(new DataView(this.here.bytes.buffer), boff)
    const dirino = (mode & S_IFMT) === FILE_TYPES.dir ? ino : this.here.dirino
    this.here = { ...this.here, boff, len: geometry.inodesize, ino, dirino, mode }
    if (how.quiet === true) return
    if (geometry.features.version === 5 && !this.inodeCrcIsRight())
      this.line(`Metadata CRC error detected for ino ${ino}`)
    this.#remember()
  }

  /** Show the same place as another kind. */
  become(kind: Kind): void {
    const { geometry } = this
    const { bb, boff } = this.here
    if (kind.name === 'inode') {
      const agno = geometry.daddrToAgno(bb)
      const agino = geometry.agbnoToAgino(geometry.daddrToAgbno(bb)) + Math.floor(boff / geometry.inodesize)
      this.goInode(geometry.ino(agno, agino))
      return
    }
    // A kind without a structure has no size of its own.
    if (!kind.type && this.here.kind) {
      this.here = { ...this.here, kind }
      return
    }
    const size = sizeOf(kind, geometry)
    this.go(kind, bb, boff + size, { ring: false })
    this.here = { ...this.here, boff, len: size }
  }

  inodeCrcIsRight(): boolean {
    const view = this.view()
    return (
      view.byteLength < this.geometry.inodesize ||
      crcIsRight(view, 0, this.geometry.inodesize, Dinode.fields.crc.offset)
    )
  }

  kindOf(name: KindName): Kind {
    return knownKind(name, this.geometry)
  }

  // -------------------------------------------------------------------------------- stack and ring

  get stack(): readonly Position[] {
    return this.#stack
  }

  /** Push the current place, and begin without one. */
  push(): void {
    this.#stack.push(nowhere(this.here))
  }

  pushHere(): void {
    this.#stack.push(this.here)
  }

  pop(): void {
    if (this.#stack.length > 1) this.#stack.pop()
    this.#refresh()
  }

  /** A write elsewhere may have changed this place. */
  #refresh(): void {
    const { here } = this
    if (here.kind) this.here = { ...here, bytes: this.#read(here.pieces ?? [here]) }
  }

  /** Return to a previous place. */
  return(place: Position): void {
    this.here = place
    this.#refresh()
  }

  /** Visit other places and return to this one, even after an error. */
  elsewhere<T>(visit: () => T): T {
    const depth = this.#stack.length
    const { agno } = this
    this.push()
    try {
      return visit()
    } finally {
      this.#stack.length = depth
      this.agno = agno
      this.#refresh()
    }
  }

  get ring(): {
    readonly entries: readonly (Position | undefined)[]
    readonly head: number
    readonly tail: number
    readonly current: number
  } {
    return this.#ring
  }

  #remember(): void {
    const ring = this.#ring
    if (ring.head === -1) {
      ring.head = 0
      ring.tail = 0
      ring.current = 0
    } else if (ring.current === ring.head) {
      ring.head = (ring.head + 1) % RING_ENTRIES
      if (ring.head === ring.tail) ring.tail = (ring.tail + 1) % RING_ENTRIES
      ring.current = ring.head
    } else ring.current = (ring.current + 1) % RING_ENTRIES
    ring.entries[ring.current] = this.here
  }

  /** Go to an entry of the ring. */
  goRing(index: number): void {
    const entry = this.#ring.entries[index]
    this.#ring.current = index
    if (!entry?.kind) return
    const { kind, bb, blen, pieces, boff, len, ino, dirino, mode } = entry
    this.go(kind, bb, blen * BASIC_BLOCK, { ring: false, ...(pieces ? { pieces } : {}) })
    this.here = { ...this.here, boff, len, ...(kind.name === 'inode' ? { ino, dirino, mode } : {}) }
  }

  // ------------------------------------------------------------------------------ reading, writing

  #read(pieces: readonly BbRange[]): Uint8Array {
    const { device } = this.options
    const bytes = new Uint8Array(pieces.reduce((sum, { blen }) => sum + blen * BASIC_BLOCK, 0))
    let at = 0
    for (const { bb, blen } of pieces) {
      const part = bytes.subarray(at, at + blen * BASIC_BLOCK)
      at += part.length
      try {
        device.read(part, bb * BASIC_BLOCK)
      } catch (error) {
        if (!(error instanceof XfsError)) throw error
        throw new Refusal(`read error: ${error.message}`)
      }
    }
    return bytes
  }

  /** Report the fault that a verifier finds at the place. */
  #complain(kind: Kind, bb: number): void {
    const fault = faultOf(kind, this.view(), this.geometry, bb, true)
    if (!fault) return
    const what = fault.crc ? 'Metadata CRC error' : 'Metadata corruption'
    this.options.warn(
      `${what} detected at ${kind.name} block 0x${bb.toString(16)}/0x${this.here.len.toString(16)}: ${fault.message}\n`,
    )
  }

  /**
   * Write the changed bytes of this place to the device.
   *
   * @param mode  'sound': with a new checksum, and only if the block passes its verifier; 'stamp':
   *   with a new checksum, but without verification; 'raw': without a new checksum
   */
  store(mode: 'sound' | 'stamp' | 'raw'): void {
    const { here, geometry } = this
    const { kind, bytes } = here
    if (!kind) throw new Refusal('nothing to write')
    if (mode !== 'raw') stampKind(kind, this.view(), geometry, here.bb)
    const fault = mode === 'sound' ? this.#writeFault(kind) : undefined
    if (fault !== undefined) {
      this.options.warn(`write verifier failed on ${kind.name} block 0x${here.bb.toString(16)}: ${fault}\n`)
      this.line('write error: Structure needs cleaning')
    } else this.#write(here.pieces ?? [here], bytes)
    this.here = { ...here, bytes: this.#read(here.pieces ?? [here]) }
  }

  #write(pieces: readonly BbRange[], bytes: Uint8Array): void {
    let at = 0
    for (const { bb, blen } of pieces) {
      const part = bytes.subarray(at, at + blen * BASIC_BLOCK)
      at += part.length
      try {
        this.options.device.write(part, bb * BASIC_BLOCK)
      } catch (error) {
        if (!(error instanceof XfsError)) throw error
        this.line(`write error: ${error.message}`)
      }
    }
  }

  /**
   * Why a verifier would refuse to write this. Of inodes it only checks magic numbers and versions.
   */
  #writeFault(kind: Kind): string | undefined {
    const { here, geometry } = this
    const own = this.view()
    const { fdblocks, dblocks, icount, ifree } = Superblock.fields
    if (kind.name === 'sb' && here.bb === 0) {
      if (fdblocks.get(own, 0) > dblocks.get(own, 0)) return 'fdblocks exceeds dblocks'
      if (ifree.get(own, 0) > icount.get(own, 0)) return 'ifree exceeds icount'
    }
    if (kind.name !== 'inode') return faultOf(kind, own, geometry, here.bb, false)?.message
    const view = viewOf(here.bytes)
    for (let at = 0; at + geometry.inodesize <= view.byteLength; at += geometry.inodesize) {
      const magic = Dinode.fields.magic.get(view, at)
      if (magic !== DINODE_MAGIC) return `inode at ${at}: magic number 0x${magic.toString(16)}`
    }
    return undefined
  }

  /** The superblock was changed: use its new values. */
  renew(): void {
    this.geometry = openImage(this.options.device, { force: true }).geometry
  }

  /**
   * The image as a volume, for commands that follow its structures. @throws Refusal if it is too
   * damaged
   */
  volume(): Volume {
    try {
      return Volume.open(findRoots(this.options.device).device)
    } catch (error) {
      if (!(error instanceof XfsError)) throw error
      throw new Refusal(error.message)
    }
  }
}

/** The blocks of the inode cluster of a block. */
function clusterOf(geometry: Geometry, agbno: number): { agbno: number; blocks: number } {
  const { sb, blocksize, inodesize, features } = geometry
  let bytes = 8192
  if (features.version === 5) {
    const scaled = (bytes * inodesize) / 256
    if (sb.inoalignmt >= Math.floor(scaled / blocksize)) bytes = scaled
  }
  const blocks = Math.floor(bytes / blocksize)
  const align =
    sb.inoalignmt >= blocks && sb.inoalignmt > 1 && Number.isInteger(Math.log2(sb.inoalignmt)) ? sb.inoalignmt : 0
  if (bytes <= blocksize || align === 0) return { agbno, blocks: 1 }
  const within = agbno % align
  return { agbno: agbno - within + Math.floor(within / blocks) * blocks, blocks }
}
