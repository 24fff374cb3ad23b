import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { before, describe, test } from 'node:test'
import { bulkLoad, planBulk } from '../../src/btree/bulkload.ts'
import { records } from '../../src/btree/cursor.ts'
import { agRoot, openTree } from '../../src/btree/roots.ts'
import { openFile } from '../../src/device/file.ts'
import { type AgTreeName, treesOf } from '../../src/format/trees.ts'
import { withTransaction } from '../../src/tx/transaction.ts'
import { Volume } from '../../src/volume.ts'
import { fill, makeImage, mounted, skipKernel, tools } from '../file/support.ts'
import { tempDir } from '../support/temp.ts'
import { contents, faults } from './support.ts'

/**
 * Trees that the kernel built are read as xfs_db reads them. After we rebuild them, xfs_repair and
 * the kernel find no problems.
 */
const SCRIPT = `
mkdir d
for i in $(seq 1500); do echo $i > d/f$i; done
for i in $(seq 1 3 1500); do rm d/f$i; done
$XFS_IO -f -c 'pwrite -q 0 3m' -c 'falloc 8m 1m' big
cmds=()
for i in $(seq 0 2 2998); do cmds+=(-c "fpunch $((i * 1024)) 1k"); done
$XFS_IO "\${cmds[@]}" big
for k in 1 2 3; do cp --reflink=always big big$k; done
for k in 1 2 3; do
  args=()
  for i in $(seq 1 $((10 * k)) 2998); do args+=(-c "pwrite -q $((i * 1024)) 1k"); done
  $XFS_IO "\${args[@]}" big$k
done
`

const rootNames: Readonly<Record<AgTreeName, string>> = {
  bnobt: 'agf {}; addr bnoroot',
  cntbt: 'agf {}; addr cntroot',
  rmapbt: 'agf {}; addr rmaproot',
  refcountbt: 'agf {}; addr refcntroot',
  inobt: 'agi {}; addr root',
  finobt: 'agi {}; addr free_root',
}

/** The records as `xfs_db btdump` prints them: a line of numbers each. */
function dumped(image: string, name: AgTreeName, agno: number): string[] {
  const commands = rootNames[name].replace('{}', String(agno)).split('; ')
  const args = [...commands, 'btdump'].flatMap((command) => ['-c', command])
  const text = execFileSync(tools.db as string, ['-r', ...args, image], { encoding: 'utf8', maxBuffer: 2 ** 28 })
  const found: string[] = []
  for (const block of text.split(/^.*bt level \d+ block .*$/m)) {
    // Older versions print several records per line.
    for (const [, rec] of block.matchAll(/\d+:\[([^\]]*)\]/g)) found.push(rec as string)
  }
  return found
}

const hex = (mask: { hi: number; lo: number }): string => {
  const value = (BigInt(mask.hi) << 32n) | BigInt(mask.lo)
  return value === 0n ? '0' : `0x${value.toString(16)}`
}

const printers: { readonly [N in AgTreeName]: (rec: never) => unknown[] } = {
  bnobt: (rec: { startblock: number; blockcount: number }) => [rec.startblock, rec.blockcount],
  cntbt: (rec: { startblock: number; blockcount: number }) => [rec.startblock, rec.blockcount],
  inobt: (rec: { startino: number; holemask: number; count: number; freecount: number; free: { hi: number; lo: number } }) => [
    rec.startino, rec.holemask === 0 ? 0 : `0x${rec.holemask.toString(16)}`, rec.count, rec.freecount, hex(rec.free),
  ], // biome-ignore format: one line
  finobt: (rec: never) => printers.inobt(rec),
  rmapbt: (rec: { startblock: number; blockcount: number; owner: number; offset: number; extentflag: number; attrfork: number; bmbtblock: number }) => [
    rec.startblock, rec.blockcount, rec.owner, rec.offset, rec.extentflag, rec.attrfork, rec.bmbtblock,
  ], // biome-ignore format: one line
  refcountbt: (rec: { startblock: number; blockcount: number; refcount: number; cowflag: number }) => [
    rec.startblock, rec.blockcount, rec.refcount, rec.cowflag,
  ], // biome-ignore format: one line
}

describe('trees of the kernel', { skip: skipKernel }, () => {
  let image = ''

  before(() => {
    image = join(tempDir(), 'a.img')
    makeImage(image, '300m', ['-b', 'size=1024', '-d', 'agcount=2'])
    fill(image, SCRIPT)
  })

  test('are read as xfs_db reads them, without faults', () => {
    const volume = Volume.open(openFile(image, 'r'))
    let tallest = 0
    for (let agno = 0; agno < volume.geometry.agcount; agno++) {
      for (const name of treesOf(volume)) {
        const tree = openTree(volume, name, agno)
        assert.deepEqual(faults(tree as never), [], `${name} ${agno}`)
        const print = printers[name] as (rec: unknown) => unknown[]
        const expected = dumped(image, name, agno)
        assert.deepEqual(
          [...records(tree as never)].map((rec) => print(rec).join()),
          expected,
          `${name} ${agno}`,
        )
        assert.deepEqual(
          contents(tree as never).recs.map((rec) => print(rec).join()),
          expected,
          `${name} ${agno}`,
        )
        tallest = Math.max(tallest, tree.root.inline ? 0 : tree.root.get().levels)
      }
    }
    assert.ok(tallest >= 3)
    volume.close()
  })

  test('are sound when rebuilt in their own blocks', () => {
    const volume = Volume.open(openFile(image, 'rw'), { write: true })
    let rebuilt = 0
    for (let agno = 0; agno < volume.geometry.agcount; agno++) {
      for (const name of treesOf(volume)) if (rebuild(volume, name, agno)) rebuilt++
    }
    volume.close()
    assert.ok(rebuilt >= 10, `only ${rebuilt} trees could be built`)
    const repair = spawnSync(tools.repair as string, ['-n', image], { encoding: 'utf8' })
    assert.equal(repair.status, 0, repair.stdout + repair.stderr)
    mounted(image, (cwd) =>
      execFileSync('bash', ['-euc', 'cat d/* big* > /dev/null; rm -r d big1; cp big2 x; sync'], { cwd }),
    )
    const again = spawnSync(tools.repair as string, ['-n', image], { encoding: 'utf8' })
    assert.equal(again.status, 0, again.stdout + again.stderr)
  })
})

/**
 * Build a tree from its own records into its own blocks. Their number must stay the same, so look
 * for a fill factor that needs this number.
 */
function rebuild(volume: Volume, name: AgTreeName, agno: number): boolean {
  const tree = openTree(volume, name, agno)
  const { ops, geometry } = tree
  const recs = [...records(tree as never)]
  const blocks = contents(tree as never).blocks.map(({ ptr }) => ptr)
  const slacks = Array.from({ length: 60 }, (_, leafSlack) =>
    [0, 5, 20, 60].map((nodeSlack) => ({ leafSlack, nodeSlack })),
  ).flat()
  const options = slacks.find((slack) => planBulk(ops as never, geometry, recs.length, slack).blocks === blocks.length)
  if (!options) return false
  const free = [...blocks]
  withTransaction(volume, (tx) => {
    const result = bulkLoad(ops as never, {
      geometry,
      owner: agno,
      count: recs.length,
      records: recs,
      claim: () => free.pop() as number,
      write: (ptr, bytes) => tx.create(ops.type, geometry.daddr(agno, ptr), geometry.blocksize).bytes.set(bytes),
      ...options,
    })
    agRoot(volume, name, agno).set(tx, result.root, result.levels)
  })
  assert.deepEqual([...records(openTree(volume, name, agno) as never)], recs)
  return true
}
