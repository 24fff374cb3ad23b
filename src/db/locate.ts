import { Dinode, FILE_TYPES, S_IFMT } from '../format/dinode.ts'
import { BASIC_BLOCK } from '../format/geometry.ts'
import type { FieldKind } from '../format/struct.ts'
import { type Fork, mapOf } from './extents.ts'
import { bitsOf } from './fields.ts'
import type { KindName } from './kinds.ts'
import type { FieldItem } from './layout/items.ts'
import { parseAddress } from './numbers.ts'
import { selectItems } from './print.ts'
import { type BbRange, type DbSession, type Position, Refusal } from './session.ts'
import { getBits } from './write.ts'

/** Going to places: headers, inodes, blocks by address, and the targets of fields. */

/** `sb`, `agf`, `agi`, `agfl`: go to a header of an AG, by default of the current one. */
export function header(session: DbSession, name: 'sb' | 'agf' | 'agi' | 'agfl', words: readonly string[]): void {
  const [word] = words
  if (word !== undefined) {
    const agno = parseAddress(word)
    if (agno === undefined || agno >= session.geometry.agcount) throw new Refusal(`bad allocation group number ${word}`)
    session.agno = agno
  } else if (session.agno < 0) session.agno = 0
  session.goHeader(name, session.agno)
}

/** `inode`: go to an inode, or show the current one. */
export function inode(session: DbSession, words: readonly string[]): void {
  const [word] = words
  if (word === undefined) {
    const { ino } = session.here
    if (ino < 0) session.line('no current inode')
    else session.result('current', { ino }, `current inode number is ${ino}`)
    return
  }
  const ino = parseAddress(word)
  if (ino === undefined) throw new Refusal(`bad value for inode number ${word}`)
  session.goInode(ino)
}

/** `fsblock`, `fsb`. */
export function fsblock(session: DbSession, words: readonly string[]): void {
  const { geometry, here } = session
  const [word] = words
  if (word === undefined) {
    if (!here.kind) throw new Refusal('cursor does not point to data device')
    const fsbno = fsbnoOf(session, Math.floor((here.bb * BASIC_BLOCK + here.boff) / BASIC_BLOCK))
    session.result('current', { fsbno }, `current fsblock is ${fsbno}`)
    return
  }
  const fsbno = parseAddress(word)
  if (
    fsbno === undefined ||
    geometry.agnoOf(fsbno) >= geometry.agcount ||
    geometry.agbnoOf(fsbno) >= geometry.agblocks
  ) {
    throw new Refusal(`bad fsblock ${word}`)
  }
  session.go(session.kindOf('data'), geometry.fsbToDaddr(fsbno), geometry.blocksize, { ring: true })
}

/** `daddr`: go to a place in basic blocks of 512 bytes. */
export function daddr(session: DbSession, words: readonly string[]): void {
  const { geometry, here } = session
  const [word] = words
  if (word === undefined) {
    const daddr = Math.floor((here.bb * BASIC_BLOCK + here.boff) / BASIC_BLOCK)
    session.result('current', { daddr }, `${here.kind ? 'datadev' : 'current'} daddr is ${daddr}`)
    return
  }
  const place = parseAddress(word)
  if (place === undefined || place >= (geometry.sb.dblocks * geometry.blocksize) / BASIC_BLOCK)
    throw new Refusal(`bad daddr ${word}`)
  session.go(session.kindOf('data'), place, geometry.sectsize, { ring: true })
}

/** `dblock` and `ablock`: go to a block of the current inode's data or attribute fork. */
export function forkBlock(session: DbSession, fork: Fork, words: readonly string[]): void {
  const word = words[0] as string
  const offset = parseAddress(word)
  if (offset === undefined) throw new Refusal(`bad block number ${word}`)
  if (session.here.ino < 0) throw new Refusal('no current inode')
  if (fork === 'attr') {
    const forkoff = session.elsewhere(() => {
      session.goInode(session.here.ino, { quiet: true })
      return Dinode.fields.forkoff.get(session.view(), 0)
    })
    if (forkoff === 0) throw new Refusal('no attribute data for file')
    goMapped(session, 'attr', 'attr3', offset, 'file attr block is unmapped')
    return
  }
  const kind = contentKind(session)
  if (!kind) throw new Refusal('no type for file data')
  goMapped(session, 'data', kind, offset, 'file data block is unmapped')
}

/** The kind of the blocks in the current inode's data fork. */
function contentKind({ here, geometry: { sb } }: DbSession): KindName | undefined {
  const type = here.mode & S_IFMT
  if (type === FILE_TYPES.dir) return 'dir3'
  if (type === FILE_TYPES.lnk) return 'symlink'
  if (type !== FILE_TYPES.reg) return undefined
  if (here.ino === sb.rbmino) return 'rtbitmap'
  if (here.ino === sb.rsumino) return 'rtsummary'
  return [sb.uquotino, sb.gquotino, sb.pquotino].includes(here.ino) ? 'dqblk' : 'data'
}

/** Go to a block of a file; a directory block may consist of several extents. */
function goMapped(session: DbSession, fork: Fork, kind: KindName, offset: number, unmapped: string): void {
  const { geometry } = session
  const blocks = kind === 'dir3' ? geometry.dirblocks : 1
  const map = mapOf(session, fork, offset, blocks)
  const [first] = map
  if (!first) throw new Refusal(unmapped)
  const perBlock = geometry.blocksize / BASIC_BLOCK
  const pieces: BbRange[] = map.map((rec) => ({
    bb: geometry.fsbToDaddr(rec.startblock),
    blen: rec.blockcount * perBlock,
  }))
  const bb = geometry.fsbToDaddr(first.startblock)
  session.go(session.kindOf(kind), bb, blocks * geometry.blocksize, { ring: true, pieces })
}

/** `bmap`: the extents of the current inode. */
export function bmap(session: DbSession, forks: readonly Fork[], start: number, length: number): void {
  const { geometry } = session
  for (const fork of forks) {
    for (const { startoff, startblock, blockcount, extentflag } of mapOf(session, fork, start, length)) {
      const [agno, agbno] = [geometry.agnoOf(startblock), geometry.agbnoOf(startblock)]
      session.result(
        'extent',
        { fork, startoff, startblock, agno, agbno, blockcount, extentflag },
        `${fork} offset ${startoff} startblock ${startblock} (${agno}/${agbno}) count ${blockcount} flag ${extentflag}`,
      )
    }
  }
}

// ------------------------------------------------------------------------------- following a field

/** How the value of a field is converted to an address. */
type Follow = 'agblock' | 'agino' | 'ino' | 'fsblock' | 'dirblock' | 'attrblock' | 'datablock'

/**
 * The kind of a field determines the unit of its number; for blocks of a fork the fork does, too.
 */
export function followOf(kind: FieldKind, fork: Fork): Follow | undefined {
  switch (kind) {
    case 'agbno':
      return 'agblock'
    case 'agino':
    case 'ino':
      return kind
    case 'fsbno':
    case 'daddr': // xfs_db treats the blkno of a btree block as an fsbno
      return 'fsblock'
    case 'dablk':
      return fork === 'attr' ? 'attrblock' : 'dirblock'
    case 'fileoff':
      return fork === 'attr' ? 'attrblock' : 'datablock'
    default:
      return undefined
  }
}

/** The kind of the target that a declaration names as `to`. */
function targetOf(session: DbSession, to: string, fork: Fork): KindName | undefined {
  if (to === 'inodata') return fork === 'attr' ? 'attr3' : contentKind(session)
  if (to !== 'btree') return to as KindName
  const name = session.kind?.name as KindName
  return name === 'inode' ? (fork === 'attr' ? 'bmapbta' : 'bmapbtd') : name
}

/** `addr FIELD`: go to the target of a field; without a field, show the current place. */
export function addr(session: DbSession, words: readonly string[]): void {
  const [expression] = words
  if (expression === undefined) {
    showPlace(session, 'current', session.here)
    return
  }
  const { kind } = session
  if (!kind) throw new Refusal('no current type')
  if (!kind.type) throw new Refusal(`no fields for type ${kind.name}`)
  const [item] = selectItems(session, [expression])
  const field: FieldItem | undefined =
    item?.form === 'field' || item?.form === 'array' ? { ...item, form: 'field' } : undefined
  const fork: Fork = kind.name === 'attr3' || kind.name === 'bmapbta' || item?.path.startsWith('a.') ? 'attr' : 'data'
  const how = field && followOf(field.field.kind, fork)
  const bits = field && bitsOf(field)
  if (field?.field.to === undefined || !how || !bits) {
    const name = (item?.path ?? '').replace(/\[[^\]]*\]/g, '')
    throw new Refusal(`no next type for field ${name.slice(name.lastIndexOf('.') + 1)}`)
  }
  const target = targetOf(session, field.field.to, fork)
  if (!target) throw new Refusal('no next type for field')
  follow(session, how, target, getBits(session.view(), bits), bits.count)
}

const NOUNS: Readonly<Record<Follow, string>> = {
  ino: 'inode', agino: 'inode', agblock: 'block', fsblock: 'block', datablock: 'block', dirblock: 'directory block', attrblock: 'attribute block',
} // biome-ignore format: a table

/**
 * @param width  bits of the field: a value with all bits set is null; numbers of da blocks are null
 *   if they are zero
 */
function follow(session: DbSession, how: Follow, target: KindName, value: bigint, width: number): void {
  const { geometry, agno } = session
  const none = how === 'dirblock' || how === 'attrblock' ? 0n : (1n << BigInt(width)) - 1n
  const number = Number(value)
  if ((how === 'agino' || how === 'agblock') && agno < 0) {
    throw new Refusal('no current allocation group, cannot set new addr')
  }
  if (value === none) throw new Refusal(`null ${NOUNS[how]} number, cannot set new addr`)
  const goBlock = (daddr: number): void =>
    session.go(session.kindOf(target), daddr, target === 'dir3' ? geometry.dirblocksize : geometry.blocksize, {
      ring: true,
    })
  if (how === 'ino') session.goInode(number)
  else if (how === 'agino') session.goInode(geometry.ino(agno, number))
  else if (how === 'agblock') goBlock(geometry.daddr(agno, number))
  else if (how === 'fsblock') goBlock(geometry.fsbToDaddr(number))
  else if (how === 'dirblock') goMapped(session, 'data', target, number, 'directory block is unmapped')
  else if (how === 'attrblock') goMapped(session, 'attr', target, number, 'attribute block is unmapped')
  else goMapped(session, 'data', target, number, 'file block is unmapped')
}

/** The filesystem block of a basic block. */
export function fsbnoOf({ geometry }: DbSession, bb: number): number {
  return geometry.fsbno(geometry.daddrToAgno(bb), geometry.daddrToAgbno(bb))
}

/** Show a place, as `addr` and `stack` do. */
export function showPlace(session: DbSession, tag: string, place: Position): void {
  const { kind, bb, blen, boff, len, pieces, ino, dirino } = place
  const lines = [
    tag,
    `\tbyte offset ${bb * BASIC_BLOCK + boff}, length ${len}`,
    `\tbuffer block ${bb} (${kind ? 'fsbno' : 'fsbno?'} ${fsbnoOf(session, bb)}), ${blen} bb${blen === 1 ? '' : 's'}`,
    ...(pieces ? [`\tblock map${pieces.map((piece) => ` ${piece.bb}:${piece.blen}`).join('')}`] : []),
    `\tinode ${ino}, dir inode ${dirino}, type ${kind?.name ?? 'none'}`,
  ]
  const values = {
    type: kind?.name ?? null,
    offset: bb * BASIC_BLOCK + boff,
    length: len,
    daddr: bb,
    fsbno: fsbnoOf(session, bb),
    blocks: pieces ?? [{ bb, blen }],
    ino: ino < 0 ? null : ino,
    directory: dirino < 0 ? null : dirino,
  }
  session.result('place', values, lines.join('\n'))
}
