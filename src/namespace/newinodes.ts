import { type AclEntry, getAcl, inheritedAcls } from '../attr/acl.ts'
import { setAttr } from '../attr/attr.ts'
import { shortAttrsBytes, shortAttrsSize } from '../attr/shortform.ts'
import { writeWithin } from '../data/write.ts'
import { AttrFlags, buildParentRec } from '../format/attr.ts'
import { BmbtRec } from '../format/btrecs.ts'
import { Dinode, FILE_TYPES, FORK_FORMATS, FORKOFF_UNIT, S_IFMT } from '../format/dinode.ts'
import { buildSf } from '../format/dirshortform.ts'
import type { Ino } from '../format/geometry.ts'
import { initInode, type NewInode } from '../inode/ialloc.ts'
import { type Heritage, heritage } from '../inode/inherit.ts'
import { type Inode, literalSize, updateInode } from '../inode/inode.ts'
import { mapExtent } from '../mapping/bmap.ts'
import { defaultForkoff } from '../mapping/fork.ts'
import { addNewRmap, rmapRec } from '../space/rmap.ts'
import { writeSymlink } from '../symlink.ts'
import type { Transaction } from '../tx/transaction.ts'
import { extentsOf, isHinted, type NewContent, type Placed } from './newcontent.ts'

/**
 * The inodes of one or many new files of one directory. Each is written completely, with its forks;
 * parent pointer and attributes are inside if they fit.
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

/** The values of a new file. */
export interface NewFile extends NewInode {
  /** Symbolic links only. */
  readonly target?: Uint8Array | undefined
  attrs?: readonly NewChildAttr[] | undefined
  content?: NewContent | undefined
}

/** A file to create. The fields of FileRef are filled in. */
export interface NewChild extends NewFile, FileRef {
  readonly name: Uint8Array
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

/** The contents of new files. */
export interface NewContents {
  readonly arena: Uint8Array
  /** The `ContentRun.at` of the first block of `arena`. */
  readonly start: number
  /** Where the arena was written; undefined: it was not, as files have extent size hints. */
  readonly placed: readonly Placed[] | undefined
}

const fields = Dinode.fields

/** Writes the inodes of new files of one directory. */
export class InodeWriter {
  readonly #tx: Transaction
  readonly #dir: Inode
  readonly #heritage: Heritage
  /** The access control list that new files inherit. */
  readonly #acl: readonly AclEntry[] | undefined
  readonly #parent: Uint8Array | undefined
  readonly #literal: number
  readonly #nrext64: boolean

  /** @param copies  see `heritage`; copies do not inherit the default list either */
  constructor(tx: Transaction, dir: Inode, copies: boolean) {
    const { features } = tx.volume
    this.#tx = tx
    this.#dir = dir
    this.#heritage = heritage(dir, copies)
    this.#acl = copies ? undefined : getAcl(dir, 'default')
    this.#parent = features.has('parent') ? buildParentRec({ inumber: dir.ino, gen: dir.generation }) : undefined
    this.#literal = literalSize(tx.volume)
    this.#nrext64 = features.has('nrext64')
  }

  /** Files get their blocks aligned to a hint, so they are not written together. */
  get hinted(): boolean {
    return isHinted(this.#heritage.file.flags)
  }

  /**
   * Write the newly allocated inode `ino`.
   * @param name  of its entry, which the caller adds; undefined: it has none yet
   */
  write(ino: Ino, given: NewFile, name?: Uint8Array, contents?: NewContents): Inode {
    const tx = this.#tx
    const file = this.#withAcl(given)
    const { target, content } = file
    const inode = initInode(tx, ino, file, this.#heritage)
    const { at, buf } = inode
    const view = tx.edit(buf)
    const forkoff = this.#parent ? defaultForkoff(inode) : 0
    fields.forkoff.set(view, at, forkoff)
    const room = forkoff === 0 ? this.#literal : forkoff * FORKOFF_UNIT
    const inside = inode.isDirectory ? buildSf(this.#dir.ino, []) : target && target.length <= room ? target : undefined
    if (inside) this.#setLocal(inode, inside)
    const placed = content && contents?.placed
    // Attributes get the room that is left. Those that do not fit may move a target out of the
    // inode.
    if (content && placed) this.#setExtents(inode, content, placed, room)
    else if (content && contents) this.#writeHinted(inode, content, contents)
    if (target && !inside) writeSymlink(tx, inode, target)
    for (const attr of this.#setAttrs(inode, this.#attrsOf(file, name), forkoff)) setAttr(tx, inode, attr, attr.value)
    return inode
  }

  #withAcl(file: NewFile): NewFile {
    if (!this.#acl?.length || (file.mode & S_IFMT) === FILE_TYPES.lnk) return file
    const { mode, attrs } = inheritedAcls(this.#acl, file.mode)
    return { ...file, mode, attrs: [...attrs, ...(file.attrs ?? [])] }
  }

  /** Its parent pointer, and its other attributes. */
  #attrsOf({ attrs = [] }: NewFile, name: Uint8Array | undefined): readonly NewChildAttr[] {
    return this.#parent && name ? [{ space: AttrFlags.parent, name, value: this.#parent }, ...attrs] : attrs
  }

  #setLocal({ view, at, buf }: Inode, content: Uint8Array): void {
    fields.format.set(view, at, FORK_FORMATS.local)
    fields.size.set(view, at, content.length)
    buf.bytes.set(content, at + this.#tx.volume.geometry.coresize)
  }

  /** Extents into the inode, where they fit. */
  #setExtents(inode: Inode, content: NewContent, placed: readonly Placed[], room: number): void {
    const tx = this.#tx
    const { at, view } = inode
    fields.size.set(view, at, content.size)
    const list = [...extentsOf(content.runs, placed)]
    if (list.length * BmbtRec.size > room) {
      for (const rec of list) mapExtent(tx, inode, 'data', rec)
      return
    }
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
  }

  /** Attributes into the inode. @returns those that have to go the long way */
  #setAttrs({ view, at, buf }: Inode, list: readonly NewChildAttr[], forkoff: number): readonly NewChildAttr[] {
    if (forkoff === 0 || list.length === 0) return list
    const size = shortAttrsSize(list)
    if (size === undefined || size > this.#literal - forkoff * FORKOFF_UNIT) return list
    buf.bytes.set(shortAttrsBytes(list), at + this.#tx.volume.geometry.coresize + forkoff * FORKOFF_UNIT)
    fields.aformat.set(view, at, FORK_FORMATS.local)
    return []
  }

  /** With a hint for extents: as a program would write it. */
  #writeHinted(inode: Inode, content: NewContent, { arena, start }: NewContents): void {
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
