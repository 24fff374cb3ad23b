import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { copyFileSync, unlinkSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { openFile as openDevice } from '../../src/device/file.ts'
import { ioSession, openFile } from '../../src/io/io.ts'
import { unlink } from '../../src/namespace/namespace.ts'
import { resolve } from '../../src/namespace/resolve.ts'
import { Volume } from '../../src/volume.ts'
import { judge } from '../support/judge.ts'
import { makeImage, mountImage, newest, skip } from '../support/oracles.ts'
import { withTempDir } from '../support/temp.ts'

/**
 * Files `a` and `b` share 16 blocks. Each row has the steps, and the files with the reflink flag
 * afterwards. The kernel delays clearing the flag while a file has dirty pages, hence syncfs.
 */
const sequences: readonly (readonly [steps: string, flagged: string])[] = [
  ['b rm', 'a'],
  ['b truncate 0', 'a'],
  ['b truncate 100', 'ab'],
  ['b fpunch 0 64k', 'ab'],
  ['b fpunch 0 64k; b truncate 0', 'a'],
  ['b fpunch 0 64k; b truncate 4k', 'a'],
  ['b fpunch 0 64k; b truncate 64k', 'a'],
  ['b fpunch 0 64k; b truncate 1m', 'ab'],
  ['b fpunch 0 64k; b fcollapse 0 4k', 'a'],
  ['b fpunch 0 64k; b funshare 0 4k', 'a'],
  ['b fzero 0 64k', 'ab'],
  ['b fzero 0 64k; b truncate 0', 'a'],
  ['b fcollapse 0 60k', 'ab'],
  ['b pwrite 0 64k; b syncfs', 'ab'],
  ['b pwrite 0 64k; b syncfs; b funshare 0 4k', 'a'],
  ['b pwrite 0 64k; b syncfs; a funshare 0 1', 'b'],
  ['b funshare 0 60k; b syncfs; b funshare 0 4k', 'ab'],
  ['b funshare 0 64k; b syncfs; b funshare 0 4k', 'a'],
  ['b funshare 0 64k; b syncfs; a funshare 0 4k; b funshare 0 4k', ''],
  ['a rm; b funshare 0 64k', ''],
  ['a rm; b pwrite 5000 1', 'b'],
  ['a rm; b truncate 30k', 'b'],
  ['b falloc 64k 64k; b funshare 64k 64k', 'ab'],
]

/** Run the sequences, each with its own files. */
function runAll(run: (file: string, command: string) => void, remove: (file: string) => void): void {
  for (const [i, [steps]] of sequences.entries()) {
    run(`${i}a`, 'pwrite -q 0 64k')
    run(`${i}b`, `reflink -q ${i}a`)
    for (const step of steps.split('; ')) {
      const [name, ...command] = step.split(' ')
      if (command[0] === 'rm') remove(`${i}${name}`)
      else run(`${i}${name}`, command.join(' '))
    }
  }
}

function flagged(image: string): string[] {
  const volume = Volume.open(openDevice(image, 'r'))
  const has = (path: string): boolean => {
    try {
      return resolve(volume, path).reflink
    } catch {
      return false
    }
  }
  const found = sequences.map(([steps], i) => `${steps}: ${['a', 'b'].filter((name) => has(`${i}${name}`)).join('')}`)
  volume.close()
  return found
}

test('files lose the reflink flag when they do with the kernel', { skip: skip.kernel || skip.newest }, () => {
  withTempDir((folder) => {
    const [image, twin] = [join(folder, 'image'), join(folder, 'twin')]
    makeImage(image, '300m')
    copyFileSync(image, twin)
    const volume = Volume.open(openDevice(image, 'rw'), { write: true })
    const io = (file: string, command: string): void => {
      const session = ioSession({ volume, out: () => {}, error: (text) => assert.fail(`${command}: ${text}`) })
      openFile(session, file, { create: true })
      session.run(command, true)
    }
    runAll(io, (file) => unlink(volume, file))
    volume.close()
    judge(image)
    const wanted = sequences.map(([steps, names]) => `${steps}: ${names}`)
    assert.deepEqual(flagged(image), wanted)
    mountImage(twin, (root) => {
      const theirs = (file: string, command: string): void =>
        void execFileSync(newest.io, ['-f', '-c', command, file], { cwd: root, stdio: ['ignore', 'ignore', 'pipe'] })
      // The kernel frees removed files in the background; freezing waits for it.
      const remove = (file: string): void => {
        unlinkSync(join(root, file))
        for (const step of ['-f', '-u']) execFileSync('fsfreeze', [step, root])
      }
      runAll(theirs, remove)
      spawnSync('sync', ['-f', root])
    })
    assert.deepEqual(flagged(twin), wanted)
  })
})
