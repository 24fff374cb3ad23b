import { setAttr } from '../attr/attr.ts'
import { shortAttrsBytes, shortAttrsSize } from '../attr/shortform.ts'
import { writeWithin } from '../data/write.ts'
import { AttrFlags, buildParentRec } from '../format/attr.ts'
import { BmbtRec } from '../format/btrecs.ts'
import { DevFork, DIFLAGS, Dinode, FILE_TYPES, FORK_FORMATS, FORKOFF_UNIT, S_IFMT } from '../format/dinode.ts'
import { buildSf } from '../format/dir.ts'
import type { Ino } from '../format/geometry.ts'
import { encodeNewInode, newFlags2 } from '../format/newinode.ts'
import { encodeTime, type Timestamp } from '../format/time.ts'
import { type Hints, inherited, NO_HINTS } from '../inode/inherit.ts'
import { type Inode, inodeAt, inodeError, literalSize, packDevice, updateInode } from '../inode/inode.ts'
import { mapExtent } from '../mapping/bmap.ts'
import { defaultForkoff } from '../mapping/fork.ts'
import { addNewRmap, rmapRec } from '../space/rmap.ts'
import { writeSymlink } from '../symlink.ts'
import type { Transaction } from '../tx/transaction.ts'
import { extentsOf, isHinted, type NewContent, type Placed } from './newcontent.ts'

/**
 * The inodes of many new files of one directory. Each is written completely, with its forks; parent
 * pointer and attributes are inside if they fit.
 */

/** A file, by its inode after its creation. */
export interface FileRef {
  ino?: Ino | undefined
  /**
   * The generation of a file that was created here, so that it is not confused with a later file
   * with the same inode number.
   */
  generation?: number | undefined
}

/** A file to create. The fields of FileRef are filled in. */
export interface NewChild extends FileRef {
  readonly name: Uint8Array
  /** Type and permissions. */
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly atime: Timestamp
  readonly mtime: Timestamp
  /** Device nodes only. */
  readonly device?: { readonly major: number; readonly minor: number } | undefined
  /** Symbolic links only. */
  readonly target?: Uint8Array | undefined
  attrs?: readonly NewChildAttr[] | undefined
  content?: NewContent | undefined
}

/** A hard link to a file that was created before, or is created by the same call. */
export interface NewLink {
  readonly name: Uint8Array
  readonly link: Readonly<FileRef>
}

/** In the stored form: for names and values that programs use see xattrs.ts. */
export interface NewChildAttr {
  readonly space: number
  readonly name: Uint8Array
  readonly value: Uint8Array
}

const fields = Dinode.fields

/** Writes the inodes of the children of one directory. */
export class InodeWriter {
  readonly #tx: Transaction
  readonly #dir: Inode
  /** An inode with the fields that are the same for all children. */
  readonly #model: Uint8Array
  readonly #literal: number
  readonly #parent: Uint8Array | undefined
  readonly #hints: { readonly file: Hints; readonly dir: Hints }
  readonly #bigtime: boolean
  readonly #nrext64: boolean
  /** Files get their blocks aligned to a hint, so they are not written together. */
  readonly hinted: boolean

  constructor(tx: Transaction, dir: Inode) {
    const { volume } = tx
    const { features, geometry } = volume
    this.#tx = tx
    this.#dir = dir
    this.#literal = literalSize(volume)
    this.#bigtime = features.has('bigtime')
    this.#nrext64 = features.has('nrext64')
    this.#hints = { file: inherited(dir, false), dir: inherited(dir, true) }
    this.hinted = isHinted(this.#hints.file.flags)
    this.#parent = features.has('parent') ? buildParentRec({ inumber: dir.ino, gen: dir.generation }) : undefined
    this.#model = new Uint8Array(geometry.inodesize)
    const view = new DataView(this.#model.buffer)
    const now = encodeTime(volume.now(), this.#bigtime)
    const projid = (dir.flags & DIFLAGS.projinherit) !== 0 ? dir.projid : 0
    encodeNewInode(view, 0, geometry, { projid, ctime: now, crtime: now })
  }

  write(child: NewChild, placed: readonly Placed[] | undefined, arena: Uint8Array, start: number): void {
    const tx = this.#tx
    const { volume } = tx
    const ino = child.ino as Ino
    const inode = inodeAt(volume, ino, tx)
    if (inode.mode !== 0) throw inodeError(ino, 'free in the inobt, but in use', 'mode')
    const { generation, at, buf } = inode
    child.generation = generation
    const view = tx.edit(buf)
    buf.bytes.set(this.#model, at)
    const type = child.mode & S_IFMT
    const isDirectory = type === FILE_TYPES.dir
    const isRegular = type === FILE_TYPES.reg
    const hints = isRegular ? this.#hints.file : isDirectory ? this.#hints.dir : NO_HINTS
    const flags2 = hints.flags2 | newFlags2(volume.geometry)
    fields.mode.set(view, at, child.mode)
    fields.uid.set(view, at, child.uid)
    fields.gid.set(view, at, child.gid)
    fields.atime.set(view, at, encodeTime(child.atime, this.#bigtime))
    fields.mtime.set(view, at, encodeTime(child.mtime, this.#bigtime))
    fields.flags.set(view, at, hints.flags)
    fields.flags2.set(view, at, { hi: 0, lo: flags2 >>> 0 })
    fields.extsize.set(view, at, hints.extsize)
    fields.cowextsize.set(view, at, hints.cowextsize)
    fields.gen.set(view, at, generation)
    fields.inumber.set(view, at, ino)
    if (isDirectory) fields.nlink.set(view, at, 2)
    const special = !isRegular && !isDirectory && type !== FILE_TYPES.lnk
    if (special) this.#setDevice(view, at, child)
    const forkoff = this.#parent ? defaultForkoff(inode) : 0
    fields.forkoff.set(view, at, forkoff)
    const room = forkoff === 0 ? this.#literal : forkoff * FORKOFF_UNIT
    if (isDirectory) this.#setLocal(buf.bytes, view, at, buildSf(this.#dir.ino, []))
    else if (child.target && child.target.length > 0 && child.target.length <= room)
      this.#setLocal(buf.bytes, view, at, child.target)
    const later = child.content && placed ? this.#setExtents(view, inode, child.content, placed, room) : undefined
    const unwritten = this.#setAttrs(buf.bytes, view, inode, child, forkoff)
    for (const attr of unwritten) setAttr(tx, inode, attr, attr.value)
    if (later) this.#mapLater(inode, child.content as NewContent, later)
    if (child.target && fields.format.get(inode.view, at) !== FORK_FORMATS.local) writeSymlink(tx, inode, child.target)
    if (child.content && !placed) this.#writeHinted(inode, child.content, arena, start)
  }

  #setDevice(view: DataView, at: number, { device }: NewChild): void {
    fields.format.set(view, at, FORK_FORMATS.dev)
    if (device) DevFork.fields.dev.set(view, at + this.#tx.volume.geometry.coresize, packDevice(device))
  }

  #setLocal(bytes: Uint8Array, view: DataView, at: number, content: Uint8Array): void {
    fields.format.set(view, at, FORK_FORMATS.local)
    fields.size.set(view, at, content.length)
    bytes.set(content, at + this.#tx.volume.geometry.coresize)
  }

  /** Write extents into the inode. @returns those that do not fit there */
  #setExtents(
    view: DataView,
    inode: Inode,
    content: NewContent,
    placed: readonly Placed[],
    room: number,
  ): BmbtRec[] | undefined {
    const tx = this.#tx
    const { at } = inode
    fields.size.set(view, at, content.size)
    const list = [...extentsOf(content.runs, placed)]
    if (list.length * BmbtRec.size > room) return list
    let blocks = 0
    list.forEach((rec, i) => {
      BmbtRec.encode(view, at + tx.volume.geometry.coresize + i * BmbtRec.size, rec)
      blocks += rec.blockcount
      const { agnoOf, agbnoOf } = tx.volume.geometry
      const owner = { owner: inode.ino, offset: rec.startoff }
      addNewRmap(tx, agnoOf(rec.startblock), rmapRec(agbnoOf(rec.startblock), rec.blockcount, owner))
    })
    fields.nblocks.set(view, at, blocks)
    if (this.#nrext64) fields.big_nextents.set(view, at, list.length)
    else fields.nextents.set(view, at, list.length)
    return undefined
  }

  #mapLater(inode: Inode, content: NewContent, list: readonly BmbtRec[]): void {
    for (const rec of list) mapExtent(this.#tx, inode, 'data', rec)
    updateInode(this.#tx, inode, { size: content.size })
  }

  /**
   * Write parent pointer and attributes into the inode. @returns those that must be added by
   * `setAttr`
   */
  #setAttrs(
    bytes: Uint8Array,
    view: DataView,
    inode: Inode,
    child: NewChild,
    forkoff: number,
  ): readonly NewChildAttr[] {
    const attrs = child.attrs ?? []
    const list = this.#parent ? [{ space: AttrFlags.parent, name: child.name, value: this.#parent }, ...attrs] : attrs
    if (forkoff === 0) return list
    const size = shortAttrsSize(list)
    if (size === undefined || size > this.#literal - forkoff * FORKOFF_UNIT) return list
    const start = inode.at + this.#tx.volume.geometry.coresize + forkoff * FORKOFF_UNIT
    bytes.set(shortAttrsBytes(list), start)
    fields.aformat.set(view, inode.at, FORK_FORMATS.local)
    return []
  }

  /** Write a file with an extent size hint in the same way as a program. */
  #writeHinted(inode: Inode, content: NewContent, arena: Uint8Array, start: number): void {
    const { blocksize } = this.#tx.volume.geometry
    for (const { startoff, blockcount, at } of content.runs) {
      const end = Math.min(content.size, (startoff + blockcount) * blocksize)
      const from = (at - start) * blocksize
      writeWithin(this.#tx, inode, startoff * blocksize, arena.subarray(from, from + end - startoff * blocksize), {
        keepTimes: true,
      })
    }
    updateInode(this.#tx, inode, { size: content.size })
  }
}
