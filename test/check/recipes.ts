import { treeOps } from '../../src/btree/treeops.ts'
import type { UsageRange } from '../../src/check/expect/usage.ts'
import { usage } from '../../src/check/expect/usage.ts'
import type { ProblemId } from '../../src/check/problems.ts'
import { OWNERS } from '../../src/format/btrecs.ts'
import { DIFLAGS2 } from '../../src/format/dinode.ts'
import { set64 } from '../../src/format/fields.ts'
import { maxRecords } from '../../src/format/treesizes.ts'
import { blockTypes } from '../../src/format/verify/blocktypes.ts'
import type { Image, Place } from './image.ts'

/**
 * The damage of each fixture: one problem each, with correct checksums, as a bug would leave it.
 * The name of a fixture is the id of the problem.
 */
export type Recipe = (image: Image) => void

const EMPTY = 0xffffffff
const pair =
  (start: number, count: number) =>
  (view: DataView, at: number): void => {
    view.setUint32(at, start)
    view.setUint32(at + 4, count)
  }

/** A free extent of at least this number of blocks in the middle of a bnobt leaf. */
const freeRun = (image: Image, least = 1, most = Number.POSITIVE_INFINITY): Place =>
  image.find('bnobt', (view, at) => view.getUint32(at + 4) >= least && view.getUint32(at + 4) <= most)

/** A run of blocks of one use. */
function runOf(image: Image, use: UsageRange['use'], least = 1, from = 0): UsageRange {
  const { ags } = image.check()
  const { blocks } = ags[0] as (typeof ags)[0]
  for (const piece of usage(blocks, from, blocks.length))
    if (piece.use === use && piece.end - piece.start >= least) return piece
  throw new Error(`no ${use} blocks`)
}

function addRefcount(image: Image, use: UsageRange['use'], refcount = 2, least = 1, from = 0): void {
  const { start } = runOf(image, use, least, from)
  image.insertAfter('refcountbt', lastRefcount(image), (view, at) => {
    pair(start, 1)(view, at)
    view.setUint32(at + 8, refcount)
  })
  sortRefcounts(image)
}

/** The last record of refcountbt for shared blocks; those for CoW staging follow. */
function lastRefcount(image: Image): Place {
  let last: Place | undefined
  for (const place of image.records('refcountbt')) last = place
  if (!last) throw new Error('no records')
  return last
}

function addCow(image: Image, start: number, count: number): void {
  image.insertAfter('refcountbt', lastRefcount(image), (view, at) => {
    pair(0x80000000 + start, count)(view, at)
    view.setUint32(at + 8, 1)
  })
}

/** Remove a free extent from bnobt, cntbt and the counters: its blocks have no owner then. */
function takeFree(image: Image): { readonly start: number; readonly count: number } {
  const place = freeRun(image, 1, 100)
  const start = place.view.getUint32(place.at)
  const count = place.view.getUint32(place.at + 4)
  image.remove('bnobt', place)
  image.remove(
    'cntbt',
    image.find('cntbt', (view, at) => view.getUint32(at) === start),
  )
  image.setHeader(0, 'agf', 'freeblks', (value) => value - count)
  image.setHeader(0, 'sb', 'fdblocks', (value) => value - count)
  return { start, count }
}

/** The record of rmapbt after which one for `start` belongs. */
const rmapBefore = (image: Image, start: number): Place =>
  image.find('rmapbt', (view, at) => view.getUint32(at) < start && view.getUint32(at + 24) > start)

function addRmap(image: Image, start: number, count: number, owner: number, offset: number): void {
  image.insertAfter('rmapbt', rmapBefore(image, start), (view, at) => {
    pair(start, count)(view, at)
    set64(view, at + 8, owner)
    set64(view, at + 16, offset)
  })
}

const isMapping = (view: DataView, at: number): boolean => view.getInt32(at + 8) >= 0 && view.getUint32(at + 16) === 0
const BTREE_FORMAT = 3
/** A file in btree format. */
const btreeFile = (image: Image): number => image.findInode((view) => view.getUint8(5) === BTREE_FORMAT)
/** A file in extents format. */
const extentFile = (image: Image): number =>
  image.findInode(
    (view) => (view.getUint16(2) & 0o170000) === 0o100000 && view.getUint8(5) === 2 && view.getUint32(28) > 0,
  )
const firstChild = (image: Image): number => (image.bmbtChildren(btreeFile(image))[0] as { fsbno: number }).fsbno
const inobtChunk = (image: Image): Place => {
  let last: Place | undefined
  for (const place of image.records('inobt')) last = place
  return last as Place
}

/** A directory with data blocks and a leaf, with "." and ".." as the first entries. */
const bigDir = (image: Image): number =>
  image.findInode(
    (view) => (view.getUint16(2) & 0o170000) === 0o040000 && view.getUint8(5) === 2 && view.getUint32(28) > 1,
  )
const attrFile = (image: Image): number => image.findInode((view) => view.getUint8(82) > 0 && view.getUint8(83) === 2)
/** Change an entry of a regular file in that directory's first block. */
const editEntry =
  (change: (view: DataView, at: number) => void): Recipe =>
  (image) =>
    image.editForkBlock(
      bigDir(image),
      blockTypes.dir3,
      false,
      (offset) => offset === 0,
      (view) => {
        let at = 64
        for (let found = 0; ; ) {
          const free = view.getUint16(at) === 0xffff
          if (!free && view.getUint8(at + 9 + view.getUint8(at + 8)) === 1 && ++found === 3) break
          at += free ? view.getUint16(at + 2) : (8 + 1 + view.getUint8(at + 8) + 1 + 2 + 7) & ~7
        }
        change(view, at)
      },
    )

function aheadOfLog(image: Image, name: 'sb' | 'agf' | 'agi' | 'agfl', at: number): void {
  image.header(0, name).setUint32(at, 1000)
  image.stampHeader(0, name)
}

const headerCrc =
  (name: 'agf' | 'agi' | 'agfl', at: number): Recipe =>
  (image) => {
    const view = image.header(0, name)
    view.setUint8(at, view.getUint8(at) ^ 1)
  }
const add =
  (name: 'sb' | 'agf' | 'agi', field: string, by: number): Recipe =>
  (image) =>
    image.setHeader(0, name, field, (value) => value + by)
const editRoot =
  (name: 'bnobt' | 'rmapbt' | 'refcountbt', change: (view: DataView, image: Image) => void): Recipe =>
  (image) => {
    const agbno = image.root(name)
    change(image.block(0, agbno), image)
    image.stampLeaf(name, { agbno })
  }
const editLeaf =
  (
    name: 'bnobt' | 'rmapbt' | 'refcountbt' | 'cntbt',
    change: (view: DataView, agbno: number) => void,
    withCrc = true,
  ): Recipe =>
  (image) => {
    const agbno = image.leaves(name)[1] as number
    change(image.block(0, agbno), agbno)
    if (withCrc) image.stampLeaf(name, { agbno })
  }

/** The last blocks of AG 0 that belong to files. */
function lastOwned(image: Image): UsageRange {
  const { ags } = image.check()
  const { blocks } = ags[0] as (typeof ags)[0]
  const owned = [...usage(blocks, 0, blocks.length)].filter(({ use }) => use === 'single' || use === 'shared')
  return owned.at(-1) as UsageRange
}

/** Fixtures that need another base image, with more AGs: size and options of mkfs.xfs. */
export const bases: Readonly<Partial<Record<ProblemId, readonly string[]>>> = {
  'sb.geometry': ['48m', '-d', 'agcount=3'],
}

export const recipes: Readonly<Record<ProblemId, Recipe>> = {
  'image.unreadable': (image) => image.truncate(image.bytes.length - 4096),
  'file.unreadable': (image) => {
    const { start, end } = lastOwned(image)
    image.truncate(image.geometry.daddr(0, Math.floor((start + end) / 2)) * 512)
  },
  'sb.invalid': (image) => image.header(0, 'sb').setUint32(0, 0),
  'sb.crc': (image) => image.header(0, 'sb').setUint8(108, 0x41),
  'sb.copy': (image) => image.setHeader(1, 'sb', 'dblocks', (value) => value + 1),
  'sb.geometry': (image) => image.setHeader(0, 'sb', 'rextsize', (value) => value + 1),
  'sb.rule': (image) => image.setHeader(0, 'sb', 'flags', () => 1),
  'sb.lsn': (image) => aheadOfLog(image, 'sb', 240),
  'sb.needsrepair': (image) => image.setHeader(0, 'sb', 'features_incompat', (value) => value | 0x10),
  'sb.inode': (image) => image.editInode(image.geometry.sb.rbmino, (view) => view.setUint32(60, 4096)),
  'sb.icount': add('sb', 'icount', 64),
  'sb.ifree': add('sb', 'ifree', 1),
  'sb.fdblocks': add('sb', 'fdblocks', -10),

  'agf.magic': (image) => image.header(0, 'agf').setUint32(0, 0),
  'agf.crc': headerCrc('agf', 100),
  'agf.identity': add('agf', 'length', -1),
  'agf.lsn': (image) => aheadOfLog(image, 'agf', 208),
  'agf.freeblks': add('agf', 'freeblks', -5),
  'agf.longest': add('agf', 'longest', -1),
  'agf.btreeblks': add('agf', 'btreeblks', 3),
  'agf.rmapblocks': add('agf', 'rmapblocks', 1),
  'agf.refcntblocks': add('agf', 'refcntblocks', 2),

  'agi.magic': (image) => image.header(0, 'agi').setUint32(0, 0x41414141),
  'agi.crc': headerCrc('agi', 317),
  'agi.identity': add('agi', 'versionnum', 1),
  'agi.lsn': (image) => aheadOfLog(image, 'agi', 320),
  'agi.count': add('agi', 'count', 64),
  'agi.freecount': add('agi', 'freecount', -1),
  'agi.iblocks': add('agi', 'iblocks', 1),
  'agi.fblocks': add('agi', 'fblocks', 1),
  'agi.bucket': (image) => {
    image.header(0, 'agi').setUint32(40 + 4 * 7, image.geometry.inoAgino(extentFile(image)))
    image.stampHeader(0, 'agi')
  },
  'agi.unlinked': (image) => {
    const ino = extentFile(image)
    const agino = image.geometry.inoAgino(ino)
    image.editInode(ino, (view) => view.setUint32(16, 0))
    image.header(0, 'agi').setUint32(40 + 4 * (agino % 64), agino)
    image.stampHeader(0, 'agi')
  },

  'agfl.magic': (image) => image.header(0, 'agfl').setUint32(0, 0),
  'agfl.crc': headerCrc('agfl', 500),
  'agfl.identity': (image) => {
    image.header(0, 'agfl').setUint32(4, 1)
    image.stampHeader(0, 'agfl')
  },
  'agfl.lsn': (image) => aheadOfLog(image, 'agfl', 24),
  'agfl.range': add('agf', 'flcount', 1),
  'agfl.outside': (image) => image.setAgfl(0, 0, () => image.geometry.agLength(0) + 5),
  'agfl.twice': (image) => {
    let first = 0
    image.setAgfl(0, 0, (agbno) => {
      first = agbno
      return agbno
    })
    image.setAgfl(0, 1, () => first)
  },
  'agfl.owned': (image) => image.setAgfl(0, 1, () => runOf(image, 'single').start),

  'btree.pointer': editRoot('bnobt', (view, image) => view.setUint32(image.nodePlace('bnobt', 1).ptr, image.geometry.agLength(0) + 1)),
  'btree.loop': editRoot('rmapbt', (view, image) => view.setUint32(image.nodePlace('rmapbt', 3).ptr, view.getUint32(image.nodePlace('rmapbt', 2).ptr))),
  'btree.crc': editLeaf('refcountbt', (view) => view.setUint8(27, view.getUint8(27) ^ 1), false),
  'btree.header': editLeaf('refcountbt', (view) => view.setUint32(0, 0x41423342)),
  'btree.lsn': editLeaf('rmapbt', (view) => view.setUint32(24, 1000)),
  'btree.sibling': editLeaf('rmapbt', (view) => view.setUint32(12, 7)),
  'btree.rootsibling': editRoot('refcountbt', (view, image) => view.setUint32(8, image.root('bnobt'))),
  'btree.keys': editRoot('rmapbt', (view, image) => view.setUint32(image.nodePlace('rmapbt', 2).key + 20, 5)),
  'btree.order': editLeaf('bnobt', (view) => {
    const [a, b] = [view.getUint32(56 + 16), view.getUint32(56 + 24)]
    view.setUint32(56 + 16, b)
    view.setUint32(56 + 24, a)
  }),
  'btree.fill': (image) => drainLeaf(image, 'rmapbt'),

  'bnobt.missing': (image) => image.remove('bnobt', freeRun(image)),
  'bnobt.owned': (image) => image.edit('bnobt', freeRun(image), (view, at) => view.setUint32(at + 4, view.getUint32(at + 4) + 1)),
  'bnobt.overlap': (image) => {
    const place = freeRun(image)
    image.edit('bnobt', place, (view, at) => view.setUint32(at + 4, view.getUint32(at + 8) - view.getUint32(at) + 1))
  },
  'bnobt.outside': (image) => image.edit('bnobt', freeRun(image), (view, at) => view.setUint32(at + 4, 0x7fffffff)),
  'bnobt.split': (image) => {
    const place = image.find('bnobt', (view, at, { count }) => view.getUint32(at + 4) >= 2 && count < 121)
    const start = place.view.getUint32(place.at)
    const count = place.view.getUint32(place.at + 4)
    image.insertAfter('bnobt', place, pair(start + 1, count - 1))
    image.edit('bnobt', place, (view, at) => view.setUint32(at + 4, 1))
  },
  'cntbt.missing': (image) => image.remove('cntbt', image.find('cntbt', () => true)),
  'cntbt.extra': (image) => {
    const place = image.find('cntbt', (view, at, { count }) => view.getUint32(at + 4) === 1 && count < 121 && view.getUint32(at + 8) > view.getUint32(at) + 1)
    image.insertAfter('cntbt', place, pair(place.view.getUint32(place.at) + 1, 1))
  },

  'rmapbt.missing': (image) => image.remove('rmapbt', image.find('rmapbt', isMapping)),
  'rmapbt.free': (image) => {
    const place = image.find('rmapbt', (view, at, { count }) => count < 40 && isMapping(view, at) && view.getUint32(at) + view.getUint32(at + 4) + 1 < view.getUint32(at + 24)
      && image.check().ags[0]?.blocks.free.start.includes(view.getUint32(at) + view.getUint32(at + 4)) === true)
    const start = place.view.getUint32(place.at) + place.view.getUint32(place.at + 4)
    image.insertAfter('rmapbt', place, (view, at) => {
      pair(start, 1)(view, at)
      set64(view, at + 8, OWNERS.refc)
      set64(view, at + 16, 0)
    })
  },
  'rmapbt.extra': (image) => {
    const place = image.find('rmapbt', (view, at, { count }) => count < 40 && isMapping(view, at) && view.getUint32(at + 24) > view.getUint32(at))
    image.insertAfter('rmapbt', place, (view, at) => set64(view, at + 8, extentFile(image) + 17))
  },
  'rmapbt.owner': (image) => image.edit('rmapbt', image.find('rmapbt', (view, at) => view.getInt32(at + 8) < 0 && view.getUint32(at) > 0), (view, at) => {
    set64(view, at + 8, view.getInt32(at + 12) === OWNERS.refc ? OWNERS.inobt : OWNERS.refc)
  }),
  'rmapbt.flags': (image) => image.edit('rmapbt', image.find('rmapbt', isMapping), (view, at) => view.setUint32(at + 16, 0x20000000)),
  'rmapbt.offset': (image) => image.edit('rmapbt', image.find('rmapbt', isMapping), (view, at) => view.setUint32(at + 20, view.getUint32(at + 20) + 1000)),
  'rmapbt.length': (image) => {
    const place = image.find('rmapbt', (view, at) => isMapping(view, at) && view.getUint32(at + 4) > 1)
    image.edit('rmapbt', place, (view, at) => view.setUint32(at + 4, view.getUint32(at + 4) - 1))
  },
  'rmapbt.split': (image) => {
    const place = image.find('rmapbt', (view, at, { count }) => count < 40 && isMapping(view, at) && view.getUint32(at + 4) > 1 && view.getUint32(at + 24) > view.getUint32(at) + 1)
    const count = place.view.getUint32(place.at + 4)
    image.insertAfter('rmapbt', place, (view, at) => {
      pair(view.getUint32(at) + 1, count - 1)(view, at)
      view.setUint32(at + 20, view.getUint32(at + 20) + 1)
    })
    image.edit('rmapbt', place, (view, at) => view.setUint32(at + 4, 1))
  },
  'rmapbt.outside': (image) => {
    const agno = 1
    let last: Place | undefined
    for (const place of image.records('rmapbt', agno)) last = place
    image.insertAfter('rmapbt', last as Place, (view, at) => {
      pair(image.geometry.agLength(agno) + 3, 2)(view, at)
      set64(view, at + 8, OWNERS.ag)
    }, agno)
  },

  'refcountbt.free': (image) => addRefcount(image, 'free'),
  'refcountbt.single': (image) => addRefcount(image, 'single', 5),
  'refcountbt.unshareable': (image) => addRefcount(image, 'exclusive', 2, 8),
  'refcountbt.metadata': (image) => addRefcount(image, 'metadata', 3, 1, 8),
  'refcountbt.missing': (image) => image.remove('refcountbt', image.find('refcountbt', () => true)),
  'refcountbt.high': (image) => image.edit('refcountbt', image.find('refcountbt', () => true), (view, at) => view.setUint32(at + 8, 9)),
  'refcountbt.low': (image) => image.edit('refcountbt', image.find('refcountbt', (view, at) => view.getUint32(at + 8) > 2), (view, at) => view.setUint32(at + 8, 2)),
  'refcountbt.split': (image) => {
    const place = [...image.records('refcountbt')].find(({ view, at }) => view.getUint32(at + 4) > 1) as Place
    const count = place.view.getUint32(place.at + 4)
    image.insertAfter('refcountbt', place, (view, at) => pair(view.getUint32(at) + 1, count - 1)(view, at))
    image.edit('refcountbt', place, (view, at) => view.setUint32(at + 4, 1))
  },
  'refcountbt.overlap': (image) => image.edit('refcountbt', image.find('refcountbt', () => true), (view, at) => {
    view.setUint32(at + 4, view.getUint32(at + 12) - view.getUint32(at) + 1)
  }),
  'refcountbt.outside': (image) => image.insertAfter('refcountbt', lastRefcount(image), (view, at) => {
    pair(image.geometry.agLength(0) + 10, 1)(view, at)
    view.setUint32(at + 8, 2)
  }),
  'refcountbt.count': (image) => image.edit('refcountbt', image.find('refcountbt', () => true), (view, at) => view.setUint32(at + 8, 1)),

  'refcountbt.saturated': (image) => {
    const { start, count } = takeFree(image)
    image.insertAfter('refcountbt', lastRefcount(image), (view, at) => {
      pair(start, count)(view, at)
      view.setUint32(at + 8, 0xffffffff)
    })
    sortRefcounts(image)
  },
  'cow.leftover': (image) => {
    const { start, count } = takeFree(image)
    addCow(image, start, count)
    addRmap(image, start, count, OWNERS.cow, 0)
  },
  'cow.owned': (image) => addCow(image, runOf(image, 'single').start, 1),
  'cow.free': (image) => {
    const place = freeRun(image)
    addCow(image, place.view.getUint32(place.at), 1)
  },
  'cow.rmap': (image) => {
    const { start, count } = takeFree(image)
    addCow(image, start, count)
  },

  'inobt.missing': (image) => image.remove('inobt', inobtChunk(image)),
  'inobt.notinodes': (image) => {
    const last = inobtChunk(image)
    const run = runOf(image, 'free', 200, image.geometry.aginoAgbno(last.view.getUint32(last.at)) + 32)
    const agbno = Math.ceil(run.start / 32) * 32
    image.insertAfter('inobt', inobtChunk(image), (view, at) => {
      view.setUint32(at, image.geometry.agbnoToAgino(agbno))
      view.setUint32(at + 4, 0x00004040)
      view.setUint32(at + 8, EMPTY)
      view.setUint32(at + 12, EMPTY)
    })
  },
  'inobt.overlap': (image) => image.insertAfter('inobt', inobtChunk(image), (view, at) => view.setUint32(at, view.getUint32(at) + 32)),
  'inobt.outside': (image) => image.insertAfter('inobt', inobtChunk(image), (view, at) => view.setUint32(at, image.geometry.agbnoToAgino(image.geometry.agLength(0) + 32))),
  'inobt.free': (image) => image.edit('inobt', inobtChunk(image), (view, at) => {
    view.setUint8(at + 15, view.getUint8(at + 15) ^ 0x10)
    view.setUint8(at + 7, view.getUint8(at + 7) + 1)
  }),
  'inobt.count': (image) => image.edit('inobt', inobtChunk(image), (view, at) => view.setUint8(at + 7, view.getUint8(at + 7) + 1)),
  'finobt.missing': (image) => image.remove('finobt', [...image.records('finobt')][0] as Place),
  'finobt.extra': (image) => image.insertAfter('finobt', [...image.records('finobt')].at(-1) as Place, (view, at) => view.setUint32(at, view.getUint32(at) + 6400)),
  'finobt.wrong': (image) => image.edit('finobt', [...image.records('finobt')][0] as Place, (view, at) => view.setUint8(at + 7, view.getUint8(at + 7) - 1)),

  'inode.crc': (image) => image.inode(extentFile(image)).setUint8(108, 0x77),
  'inode.core': (image) => image.editInode(extentFile(image), (view) => view.setUint8(4, 2)),
  'inode.lsn': (image) => image.editInode(extentFile(image), (view) => view.setUint32(112, 1000)),
  'inode.extent': (image) => image.editInode(extentFile(image), (view) => {
    view.setUint32(176 + 8, 0x7fffffff)
  }),
  'inode.count': (image) => image.editInode(extentFile(image), (view) => view.setUint32(68, view.getUint32(68) + 1)),
  'inode.crosslinked': (image) => image.editInode(extentFile(image), (view) => {
    const block = BigInt(image.root('inobt'))
    const low = view.getBigUint64(176 + 8)
    view.setBigUint64(176 + 8, (low & 0x1fffffn) | (block << 21n))
  }),
  'inode.reflink': (image) => {
    const ino = image.findInode((view) => (view.getUint32(124) & DIFLAGS2.reflink) !== 0)
    image.editInode(ino, (view) => view.setUint32(124, view.getUint32(124) & ~DIFLAGS2.reflink))
  },
  'inode.nlink': (image) => image.editInode(extentFile(image), (view) => view.setUint32(16, view.getUint32(16) + 1)),
  'inode.unreachable': (image) => editEntry((view, at) => set64(view, at, view.getInt32(at) * 2 ** 32 + view.getUint32(at + 4) + 1))(image),
  'dir.block': (image) => image.editForkBlock(bigDir(image), blockTypes.dir3, false, (offset) => offset === 0, (view) => view.setUint8(20, 1 ^ view.getUint8(20)), false),
  'dir.index': (image) =>
    image.editForkBlock(bigDir(image), blockTypes.da, false, (offset) => offset >= 2 ** 25, (view) => {
      const used = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9].map((i) => 64 + 8 * i + 4).filter((at) => view.getUint32(at) !== 0)
      view.setUint32(used[0] as number, view.getUint32(used[1] as number))
    }),
  'dir.name': editEntry((view, at) => view.setUint8(at + 10, 0x2f)),
  'dir.duplicate': (image) => {
    let last = 0
    editEntry((view, at) => {
      for (let next = 96; next < at; next += view.getUint16(next) === 0xffff ? view.getUint16(next + 2) : (8 + 1 + view.getUint8(next + 8) + 1 + 2 + 7) & ~7)
        if (view.getUint8(next + 8) === view.getUint8(at + 8)) last = next
      if (last === 0) throw new Error('no two names of one length')
      for (let i = 0; i < view.getUint8(at + 8); i++) view.setUint8(at + 9 + i, view.getUint8(last + 9 + i))
    })(image)
  },
  'dir.dot': (image) => image.editForkBlock(bigDir(image), blockTypes.dir3, false, (offset) => offset === 0, (view) => set64(view, 64, view.getUint32(68) + 1)),
  'dir.entry': editEntry((view, at) => set64(view, at, view.getUint32(at + 4) + 100000)),
  'dir.ftype': editEntry((view, at) => view.setUint8(at + 9 + view.getUint8(at + 8), 2)),
  'dir.twice': (image) =>
    editEntry((view, at) => {
      set64(view, at, image.findInode((inode, ino) => (inode.getUint16(2) & 0o170000) === 0o040000 && ino !== bigDir(image)))
      view.setUint8(at + 9 + view.getUint8(at + 8), 2)
    })(image),
  'dir.parent': (image) => image.editForkBlock(bigDir(image), blockTypes.dir3, false, (offset) => offset === 0, (view) => set64(view, 80, view.getUint32(84) + 4)),
  'attr.block': (image) =>
    image.editForkBlock(attrFile(image), blockTypes.da, true, (_, view) => view.getUint16(8) === 0x3bee, (view) => view.setUint8(1023, 1 ^ view.getUint8(1023)), false),
  'attr.space': (image) =>
    image.editForkBlock(attrFile(image), blockTypes.da, true, (_, view) => view.getUint16(8) === 0x3bee, (view) => view.setUint16(58, view.getUint16(58) + 4)),
  'attr.value': (image) =>
    image.editForkBlock(attrFile(image), blockTypes.attrRemote, true, (_, view) => view.getUint32(0) === 0x5841524d && view.getUint32(4) > 0, (view) => view.setUint32(4, view.getUint32(4) - 1)),
  'parent.pointers': (image) => {
    const ino = image.findInode((view) => view.getUint8(83) === 1 && view.getUint8(82) > 0 && view.getUint8(176 + view.getUint8(82) * 8 + 4 + 2) === 8)
    image.editInode(ino, (view) => {
      // The last byte of the generation, after the name and the inode number.
      const entry = 176 + view.getUint8(82) * 8 + 4
      const at = entry + 3 + view.getUint8(entry) + 11
      view.setUint8(at, view.getUint8(at) ^ 1)
    })
  },
  'symlink.block': (image) => {
    const ino = image.findInode((view) => (view.getUint16(2) & 0o170000) === 0o120000 && view.getUint8(5) === 2)
    image.editForkBlock(ino, blockTypes.symlink, false, () => true, (view) => set64(view, 32, ino + 1))
  },
  'bmbt.pointer': (image) => {
    const ino = btreeFile(image)
    const { ptrAt } = image.bmbtChildren(ino)[1] as { ptrAt: number }
    image.editInode(ino, (view) => set64(view, ptrAt, 2 ** 40))
  },
  'bmbt.loop': (image) => {
    const ino = btreeFile(image)
    const [first, second] = image.bmbtChildren(ino) as unknown as [{ fsbno: number }, { ptrAt: number }]
    image.editInode(ino, (view) => set64(view, second.ptrAt, first.fsbno))
  },
  'bmbt.crc': (image) => image.editBmbt(firstChild(image), (view) => view.setUint8(39, 1 ^ view.getUint8(39)), false),
  'bmbt.header': (image) => image.editBmbt(firstChild(image), (view) => view.setUint16(4, 7)),
  'bmbt.lsn': (image) => image.editBmbt(firstChild(image), (view) => view.setUint32(32, 1000)),
  'bmbt.sibling': (image) => image.editBmbt(firstChild(image), (view) => set64(view, 16, -1)),
  'bmbt.keys': (image) => {
    const ino = btreeFile(image)
    const { keyAt } = image.bmbtChildren(ino)[1] as { keyAt: number }
    image.editInode(ino, (view) => view.setUint32(keyAt + 4, view.getUint32(keyAt + 4) + 1))
  },
  'bmbt.order': (image) => {
    // The last record of the first leaf, long enough to overlap the second leaf.
    image.editBmbt(firstChild(image), (view) => {
      const at = 72 + 16 * (view.getUint16(6) - 1)
      view.setUint32(at + 12, view.getUint32(at + 12) + 5)
    })
  },
} // biome-ignore format: a table

/** Move records of a leaf to its right sibling, until it is less than half full. */
function drainLeaf(image: Image, name: 'rmapbt' | 'bnobt' | 'refcountbt'): void {
  const { recSize } = treeOps[name]
  const { shortHeader } = image.geometry
  const max = maxRecords(image.geometry, name, 0)
  const keep = (max >> 1) - 1
  const leaves = image.leaves(name)
  const index = leaves.findIndex((agbno, i) => {
    const next = leaves[i + 1]
    if (next === undefined) return false
    return image.block(0, agbno).getUint16(6) - keep + image.block(0, next).getUint16(6) <= max
  })
  if (index < 0) throw new Error(`no two leaves of ${name} hold so few records`)
  const [from, to] = [leaves[index] as number, leaves[index + 1] as number]
  const [left, right] = [image.block(0, from), image.block(0, to)]
  const moved = left.getUint16(6) - keep
  const count = right.getUint16(6)
  const bytesOf = (view: DataView) => new Uint8Array(view.buffer, view.byteOffset + shortHeader)
  bytesOf(right).copyWithin(moved * recSize, 0, count * recSize)
  bytesOf(right).set(bytesOf(left).subarray(keep * recSize, (keep + moved) * recSize))
  left.setUint16(6, keep)
  right.setUint16(6, count + moved)
  image.stampLeaf(name, { agbno: from })
  image.stampLeaf(name, { agbno: to })
}

/** Sort the records of a refcountbt of one or two levels, and set the keys above. */
function sortRefcounts(image: Image): void {
  const places = [...image.records('refcountbt')]
  const records = places.map(
    ({ view, at }) => [view.getUint32(at), view.getUint32(at + 4), view.getUint32(at + 8)] as const,
  )
  records.sort((a, b) => a[0] - b[0])
  for (const [i, { view, at }] of places.entries()) {
    const [start, count, refcount] = records[i] as readonly [number, number, number]
    pair(start, count)(view, at)
    view.setUint32(at + 8, refcount)
  }
  for (const agbno of image.leaves('refcountbt')) image.stampLeaf('refcountbt', { agbno })
}
