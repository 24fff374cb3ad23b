import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Geometry, geometryOf } from '../../src/format/geometry.ts'
import { Superblock } from '../../src/format/sb.ts'
import type { BlockType } from '../../src/format/verify/blocktype.ts'
import { blockTypes, resolveType } from '../../src/format/verify/blocktypes.ts'
import { fill } from '../file/support.ts'
import { makeImage, skip } from '../support/oracles.ts'
import { referenceImage } from '../support/reference.ts'
import { tempDir } from '../support/temp.ts'

/**
 * Images that mkfs.xfs made and the kernel filled with every kind of metadata, and the metadata
 * blocks in them. They are recorded. With XFSKIT_LONG=1 they are made again if there is a kernel.
 */

export interface Sample {
  readonly path: string
  readonly bytes: Uint8Array
  readonly geometry: Geometry
}

/**
 * Directories, symbolic links, attributes and extents in all their formats. Names of values are
 * long enough for several blocks.
 */
const CONTENT = `
mkdir d1 blk leaf node attrs
touch d1/a d1/bb d1/ccc "d1/quote'\\"?x" $'d1/\\303\\211\\001\\t'
touch blk/file{000..019} leaf/file{00000..00299}
(cd node; touch 'a rather long file name to fill blocks '{0000..3999})
ln -s $(printf 'x%.0s' {1..40}) shortlink; ln -s $(printf 'y%.0s' {1..900}) longlink
mknod device c 5 6; mkfifo fifo
touch attrs/one attrs/leaf attrs/remote attrs/node
setfattr -n user.small -v value1 attrs/one; setfattr -n user.empty attrs/one
{ echo '# file: attrs/leaf'; for i in {000..039}; do echo "user.attr$i=\\"v$i$i$i$i$i\\""; done; echo; } | setfattr --restore=-
setfattr -n trusted.tr -v trval attrs/leaf; setfattr -n security.se -v seval attrs/leaf
setfattr -n user.remote -v $(printf 'r%.0s' {1..20000}) attrs/remote; setfattr -n user.big -v $(printf 'Q%.0s' {1..2000}) attrs/remote
{ echo '# file: attrs/node'; for i in {0000..0599}; do echo "user.longerattributename$i=\\"w$i$i$i$i$i\\""; done; echo; } | setfattr --restore=-
for i in $(seq 0 2 2398); do echo "pwrite -q $((i*4096)) 4096"; done | $XFS_IO -f frag > /dev/null
cp --reflink=always frag frag2 2>/dev/null || true
$XFS_IO -c 'falloc 0 1m' -f unwritten
for i in $(seq 0 3 3999); do echo "node/a rather long file name to fill blocks $(printf %04d $i)"; done | xargs -d '\\n' rm -f
for i in $(seq 0 3 299); do rm -f leaf/file$(printf %05d $i); done
for i in $(seq 0 3 19); do rm -f blk/file$(printf %03d $i); done
`

const recipes = {
  default: [],
  small: ['-b', 'size=1k'],
  plain: [
    '-b',
    'size=2k',
    '-n',
    'size=8k,parent=0',
    '-m',
    'rmapbt=0,reflink=0,finobt=0,bigtime=0',
    '-i',
    'nrext64=0,exchange=0',
  ],
} as const

export type SampleName = keyof typeof recipes
export const sampleNames = Object.keys(recipes) as SampleName[]

const made = new Map<SampleName, Sample>()

export function sample(name: SampleName): Sample {
  const known = made.get(name)
  if (known) return known
  const path = join(tempDir(), `${name}.img`)
  const make = (): void => {
    makeImage(path, '160m', recipes[name])
    fill(path, CONTENT)
  }
  referenceImage(`sample-${name}`, path, make, process.env['XFSKIT_LONG'] === '1' && skip.kernel === false)
  const { buffer, byteOffset, length } = readFileSync(path)
  const bytes = new Uint8Array(buffer, byteOffset, length)
  assert(byteOffset === 0, 'views begin at the beginning')
  const geometry = geometryOf(Superblock.decode(new DataView(bytes.buffer)))
  const result = { path, bytes, geometry }
  made.set(name, result)
  return result
}

export interface Found {
  readonly type: BlockType
  readonly daddr: number
  readonly length: number
}

const viewAt = ({ bytes }: Sample, daddr: number, length: number): DataView =>
  new DataView(bytes.buffer, daddr * 512, length)

/** A copy of the bytes of a block, for damaging. */
export function copyOf({ bytes }: Sample, { daddr, length }: Found): DataView {
  return new DataView(bytes.slice(daddr * 512, daddr * 512 + length).buffer)
}

const byMagic = [
  'bnobt',
  'cntbt',
  'inobt',
  'finobt',
  'rmapbt',
  'refcountbt',
  'bmbt',
  'dirBlock',
  'dirData',
  'dirFree',
  'attrRemote',
  'symlink',
  'dirLeaf1',
  'dirLeafN',
  'attrLeaf',
  'inodes',
] as const

/**
 * Every block that looks like metadata, by its magic number and its own address. Some of them are
 * stale.
 */
export function* metadata(of: Sample): Generator<Found> {
  const { geometry, bytes } = of
  const { blocksize, dirblocksize } = geometry
  for (let agno = 0; agno < geometry.agcount; agno++) {
    for (const [sector, name] of (['sb', 'agf', 'agi', 'agfl'] as const).entries()) {
      yield { type: blockTypes[name], daddr: geometry.agHeaderDaddr(agno, sector), length: geometry.sectsize }
    }
  }
  for (let at = 0; at + dirblocksize <= bytes.length; at += blocksize) {
    const daddr = at / 512
    const view = viewAt(of, daddr, dirblocksize)
    for (const name of byMagic) {
      const type: BlockType = blockTypes[name]
      const { magic, daddrOffset } = type
      if (
        !magic ||
        !type.magics.includes(magic.size === 2 ? view.getUint16(magic.offset) : view.getUint32(magic.offset))
      )
        continue
      if (daddrOffset !== undefined && view.getUint32(daddrOffset + 4) !== daddr) continue
      yield { type, daddr, length: name.startsWith('dir') ? dirblocksize : blocksize }
    }
    const nodes = [dirblocksize, blocksize].filter((length, i, all) => all.indexOf(length) === i)
    if (resolveType(blockTypes.da, view, geometry) === blockTypes.daNode) {
      for (const length of nodes) yield { type: blockTypes.daNode, daddr, length }
    }
  }
}
