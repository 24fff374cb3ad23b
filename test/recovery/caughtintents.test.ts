import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { copyFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { openFile } from '../../src/device/file.ts'
import { Superblock } from '../../src/format/sb.ts'
import { OpenIntents } from '../../src/log/openintents.ts'
import { logState, openRing } from '../../src/log/ring.ts'
import { readTransactions } from '../../src/log/transactions.ts'
import { rootDirectory } from '../../src/namespace/resolve.ts'
import { recover } from '../../src/recovery/recover.ts'
import { Volume } from '../../src/volume.ts'
import { judge } from '../support/judge.ts'
import { differences, imageManifest } from '../support/manifest.ts'
import { makeImage, mountImage, newest, skip } from '../support/oracles.ts'
import { random } from '../support/random.ts'
import { withTempDir } from '../support/temp.ts'

/**
 * Intents that the kernel leaves: several processes share, unshare and remove the blocks of
 * fragmented files on a small log, which is flushed all the time, until the filesystem is shut down.
 */
const LONG = process.env['XFSKIT_LONG'] === '1'
const ROUNDS = LONG ? 40 : 2

const WORK = [
  'while :; do cp --reflink=auto a a.new && mv a.new a.copy; done',
  'while :; do for i in $(seq 0 3 900); do fallocate -p -o $((i * 1024)) -l 2048 b; done; dd if=/dev/zero of=b bs=1M count=1 conv=notrunc; done',
  'while :; do cp --reflink=auto c c.new; rm c.new; setfattr -n user.x -v $RANDOM c; done',
  'while :; do echo x > flushed; sync flushed; done',
]

function prepare(root: string): void {
  const make =
    'for f in a b c; do dd if=/dev/urandom of=$f bs=1M count=1 && for i in $(seq 0 2 1000); do echo "fpunch $((i * 1024)) 1024"; done | xfs_io $f; done'
  execFileSync('bash', ['-c', make.replace('xfs_io', newest.io)], { cwd: root, stdio: 'ignore' })
}

/** Leave the image in the middle of changes. */
function interrupt(image: string, milliseconds: number, how: readonly string[]): void {
  const work = (root: string): void => {
    // A group of its own: the shell and the command that it runs.
    const children = WORK.map((line) => spawn('bash', ['-c', line], { cwd: root, stdio: 'ignore', detached: true }))
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds)
    execFileSync(newest.io, ['-x', '-c', ['shutdown', ...how].join(' '), root], { stdio: 'ignore' })
    for (const { pid } of children) process.kill(-(pid as number), 'SIGKILL')
  }
  mountImage(image, work, { anyComplaint: true })
}

function facts(image: string): { readonly manifest: string[]; readonly counters: readonly number[] } {
  const device = openFile(image, 'r')
  const volume = Volume.open(device)
  const { fdblocks, icount, ifree } = Superblock.decode(volume.superblock().view)
  const manifest = imageManifest(rootDirectory(volume), { exact: true })
  device.close()
  return { manifest, counters: [fdblocks, icount, ifree] }
}

function openKinds(image: string): string[] {
  const device = openFile(image, 'r')
  const volume = Volume.open(device)
  const state = logState(volume)
  const open = new OpenIntents()
  if (!state.clean)
    for (const { lsn, items } of readTransactions(openRing(volume), state))
      for (const item of items) open.add(item, lsn)
  device.close()
  return open.all.map(({ kind }) => kind)
}

test('intents of the kernel that are not done: the same image as after its own recovery', {
  skip: skip.kernel,
}, (context) => {
  const caught: Record<string, number> = {}
  withTempDir((folder) => {
    for (let round = 0; round < ROUNDS; round++) {
      const { int, pick } = random(round)
      const [ours, theirs] = [join(folder, 'ours'), join(folder, 'theirs')]
      makeImage(ours, '320m', ['-b', 'size=1k', '-l', 'size=8m', '-m', `reflink=${round % 4 === 3 ? 0 : 1}`])
      mountImage(ours, prepare)
      interrupt(ours, 100 + int(700), pick([[], ['-f']]))
      copyFileSync(ours, theirs)
      const kinds = openKinds(ours)
      for (const kind of kinds) caught[kind] = (caught[kind] ?? 0) + 1
      const device = openFile(ours, 'rw')
      assert.equal(recover(device).refused, undefined, `${round}: ${kinds}`)
      device.close()
      mountImage(theirs, () => undefined)
      const [one, two] = [facts(ours), facts(theirs)]
      assert.equal(differences(one.manifest, two.manifest), '', `${round}: ${kinds}`)
      assert.deepEqual(one.counters, two.counters, `${round}: ${kinds}`)
      judge(ours)
    }
  })
  context.diagnostic(`${ROUNDS} images, intents: ${JSON.stringify(caught)}`)
  if (LONG) assert.ok(Object.keys(caught).length > 2, JSON.stringify(caught))
})
