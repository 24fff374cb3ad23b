import { NULLAGBLOCK } from '../format/ag.ts'
import { ATTR3_LEAF_MAGIC } from '../format/attr.ts'
import { LongBlock, ShortBlock } from '../format/btblock.ts'
import { Dinode, FORK_FORMATS } from '../format/dinode.ts'
import { DA3_NODE_MAGIC, Da3NodeHdr, DaBlkinfo, DIR3_LEAF1_MAGIC, DIR3_LEAFN_MAGIC } from '../format/dir.ts'
import { forkShape } from '../format/forkshape.ts'
import { btrees, treeForms, treeNames } from '../format/trees.ts'
import { getopt } from '../util/getopt.ts'
import { addr } from './locate.ts'
import { print } from './print.ts'
import { type DbSession, Refusal } from './session.ts'

/**
 * `btdump`: the blocks of a tree, level by level from this one down, each level from left to right.
 */
export function btdump(session: DbSession, words: readonly string[]): void {
  const { kind } = session
  if (!kind) throw new Refusal('no current type')
  const { letters, operands, faults } = getopt(words, 'ai')
  if (faults.length > 0) throw new Refusal('bad option for btdump command')
  if (operands.length > 0) throw new Refusal('bad options for btdump command')
  const nodes = letters.has('i')
  if (letters.has('a') && kind.name !== 'inode') throw new Refusal("attrfork flag doesn't apply here")
  const tree = trees[kind.name]
  if (kind.name === 'inode') dumpFork(session, letters.has('a'), nodes)
  else if (tree) dumpFrom(session, tree, nodes)
  else throw new Refusal(`type "${kind.name}" is not a btree type or inode`)
}

/** How to read and traverse the blocks of a kind of tree. */
interface Tree {
  /** −1: not a block of such a tree. */
  readonly level: (view: DataView) => number
  readonly hasNext: (view: DataView) => boolean
  readonly nodeFields: readonly string[]
  readonly leafFields: readonly string[]
  readonly down: string
  readonly next: (level: number) => string
}

const btree = (long: boolean): Tree => ({
  level: (view) => ShortBlock.fields.level.get(view, 0),
  hasNext: (view) =>
    long ? LongBlock.fields.rightsib.get(view, 0) !== -1 : ShortBlock.fields.rightsib.get(view, 0) !== NULLAGBLOCK,
  nodeFields: ['keys', 'ptrs'],
  leafFields: ['recs'],
  down: 'ptrs[1]',
  next: () => 'rightsib',
})

const daTree = (
  leafMagics: readonly number[],
  fields: Pick<Tree, 'nodeFields' | 'leafFields' | 'down' | 'next'>,
): Tree => ({
  level: (view) => {
    const magic = DaBlkinfo.fields.magic.get(view, 0)
    return leafMagics.includes(magic) ? 0 : magic === DA3_NODE_MAGIC ? Da3NodeHdr.fields.level.get(view, 0) : -1
  },
  hasNext: (view) => DaBlkinfo.fields.forw.get(view, 0) !== 0,
  ...fields,
})

const inode = btree(true)
const trees: Readonly<Record<string, Tree>> = {
  ...Object.fromEntries(
    treeNames.flatMap((name) => Object.keys(btrees[name].db).map((db) => [db, btree(treeForms[name].ptrSize === 8)])),
  ),
  attr3: daTree([ATTR3_LEAF_MAGIC], {
    nodeFields: ['btree'], leafFields: ['entries', 'nvlist'], down: 'btree[0].before', next: () => 'hdr.info.hdr.forw',
  }),
  dir3: daTree([DIR3_LEAF1_MAGIC, DIR3_LEAFN_MAGIC], {
    nodeFields: ['nbtree'], leafFields: ['lents'], down: 'nbtree[0].before', next: (level) => (level > 0 ? 'nhdr.info.hdr.forw' : 'lhdr.info.hdr.forw'),
  }),
} // biome-ignore format: a table

function dumpFork(session: DbSession, attr: boolean, nodes: boolean): void {
  const view = session.view()
  const { nextents, anextents } = forkShape(view, 0, session.geometry)
  if (
    (attr ? anextents : nextents) === 0 ||
    (attr ? Dinode.fields.aformat : Dinode.fields.format).get(view, 0) !== FORK_FORMATS.btree
  ) {
    throw new Refusal(`${attr ? 'attr' : 'data'} fork not in btree format`)
  }
  const root = attr ? 'a.bmbt' : session.geometry.features.version === 5 ? 'u3.bmbt' : 'u.bmbt'
  if (nodes) for (const field of ['keys', 'ptrs']) print(session, [`${root}.${field}`])
  keepingPlace(session, () => {
    addr(session, [`${root}.ptrs[1]`])
    dumpFrom(session, inode, nodes)
  })
}

/** Visit other places, and return to this one. */
function keepingPlace(session: DbSession, visit: () => void): void {
  const { here } = session
  session.elsewhere(() => {
    session.return(here)
    visit()
  })
}

function dumpFrom(session: DbSession, tree: Tree, nodes: boolean): void {
  keepingPlace(session, () => {
    const { here, geometry } = session
    session.agno = geometry.daddrToAgno(here.bb)
    let level = tree.level(session.view())
    if (level < 0) throw new Refusal('Current location is not part of a dir/attr btree.')
    for (const seen = new Set<number>(); level >= 0 && !seen.has(session.here.bb); level--) {
      seen.add(session.here.bb)
      if (level === 0 || nodes) dumpLevel(session, tree, level)
      if (level > 0) addr(session, [tree.down])
    }
  })
}

function dumpLevel(session: DbSession, tree: Tree, level: number): void {
  keepingPlace(session, () => {
    const { agno } = session
    const seen = new Set<number>()
    for (let number = 1; !seen.has(session.here.bb); number++) {
      const { bb, kind } = session.here
      seen.add(bb)
      session.agno = agno
      const text = `${kind?.name} level ${level} block ${number} daddr ${bb}`
      session.result('block', { type: kind?.name ?? null, level, number, daddr: bb }, text)
      printFields(session, level > 0 ? tree.nodeFields : tree.leafFields)
      if (!tree.hasNext(session.view())) break
      addr(session, [tree.next(level)])
    }
  })
}

/** Print fields. Fields that a damaged block lacks are reported, and the walk continues. */
function printFields(session: DbSession, fields: readonly string[]): void {
  for (const group of fields.includes('keys') ? fields.map((field) => [field]) : [fields]) {
    try {
      print(session, group)
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      session.line(error.message)
    }
  }
}
