import assert from 'node:assert/strict'
import { linkSync, mkdirSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { type PendingDirectory, type WalkItem, walkHost } from '../../src/transfer/hostwalk.ts'
import { type ReadAhead, walkAhead } from '../../src/transfer/readahead.ts'
import { xfskitOk } from '../support/cli.ts'
import { judge } from '../support/judge.ts'
import { differences, hostManifest } from '../support/manifest.ts'
import { makeImage } from '../support/oracles.ts'
import { random } from '../support/random.ts'
import { withTempDir } from '../support/temp.ts'
import { calls, makeTree, manifestOf, skipCopies } from './support.ts'

/** More files than are read without a worker. */
function fill(folder: string): void {
  const { bytes, int } = random(7)
  mkdirSync(folder, { recursive: true })
  for (let i = 0; i < 700; i++) writeFileSync(join(folder, `file ${i}`), bytes(int(60_000)))
}

test('put: a tree of everything, read ahead', { skip: skipCopies }, () => {
  withTempDir((folder) => {
    const [tree, image] = [join(folder, 'tree'), join(folder, 'image')]
    fill(tree)
    makeTree(join(tree, 'everything'))
    linkSync(join(tree, 'file 3'), join(tree, 'everything', 'a further name'))
    makeImage(image, '1g')
    xfskitOk(['put', image, `${tree}/.`, '/'])
    assert.equal(differences(manifestOf(image), hostManifest(tree, calls())), '')
    judge(image)
    // Over existing files: all are replaced, and nothing is left over.
    xfskitOk(['put', image, `${tree}/.`, '/'])
    assert.equal(differences(manifestOf(image), hostManifest(tree, calls())), '')
    judge(image)
  })
})

test('reading ahead finds what a walk finds, in the same order', () => {
  withTempDir((folder) => {
    fill(join(folder, 'a'))
    fill(join(folder, 'b', 'c'))
    mkdirSync(join(folder, 'b', 'empty'))
    symlinkSync('nowhere', join(folder, 'b', 'link'))
    const places = (): PendingDirectory[] => [
      { id: 0, host: Buffer.from(folder), device: statSync(folder, { bigint: true }).dev },
    ]
    const walk = (): ReadAhead => ({ places: places(), lastId: 0, oneFileSystem: false, most: 2 ** 15, xattrs: true })
    const told = (found: WalkItem): unknown => {
      if (found.kind !== 'file') return found
      const { facts } = found.file
      const into = new Uint8Array(Number(facts.size))
      const isFile = (facts.mode & 0o170000) === 0o100000
      return {
        ...facts,
        target: (facts.mode & 0o170000) === 0o120000 ? Buffer.from(found.file.target()).toString() : '',
        content: isFile ? Buffer.from(into.subarray(0, found.file.read(into))).toString('hex') : '',
      }
    }
    const expected = Array.from(walkHost(walk()), told)
    const found: unknown[] = []
    for (const one of walkAhead(walk())) if (one) found.push(told(one))
    assert.ok(expected.length > 1400)
    // Reading changes access times.
    const plain = (all: unknown[]): unknown[] => all.map((one) => ({ ...(one as object), atime: 0 }))
    assert.deepEqual(plain(found), plain(expected))
  })
})

test('a tree that is removed during reading ahead is reported, not waited for', () => {
  withTempDir((folder) => {
    for (let i = 0; i < 20; i++) fill(join(folder, `${i}`))
    const walk: ReadAhead = {
      places: [{ id: 0, host: Buffer.from(folder), device: 0n }],
      lastId: 0,
      oneFileSystem: false,
      most: 2 ** 16,
      xattrs: false,
    }
    let files = 0
    const problems: string[] = []
    for (const found of walkAhead(walk)) {
      if (found?.kind === 'file' && ++files === 800) rmSync(folder, { recursive: true })
      if (found?.kind === 'problem') problems.push(found.message)
    }
    assert.ok(files >= 800 && files < 14_000, `${files} files`)
    assert.ok(problems.length > 0 && problems.every((message) => message === 'no such file'), problems[0] ?? 'none')
    mkdirSync(folder)
  })
})
