import assert from 'node:assert/strict'
import * as host from 'node:fs/promises'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { test } from 'node:test'
import { mkfs } from '../../src/index.ts'
import { open, type XfsPromises } from '../../src/promises.ts'
import { judge } from '../support/judge.ts'
import { outside, outsideSkip } from '../support/oracles.ts'
import { tempDir } from '../support/temp.ts'

/** Tools that take an `fs` work on an image. They are not dependencies: see .tools/outside. */

const load = (name: string) => createRequire(join(outside, 'x.js'))(name)

async function withImage(use: (fs: XfsPromises) => Promise<void>): Promise<void> {
  const path = join(tempDir(), 'disk.img')
  await mkfs(path, { imageSize: 64 * 2 ** 20 })
  const fs = await open(path, { write: true })
  try {
    await use(fs)
  } finally {
    await fs.close()
  }
  judge(path)
}

test('isomorphic-git: a repository in an image', { skip: outsideSkip }, () =>
  withImage(async (fs) => {
    const git = load('isomorphic-git')
    const repo = { fs, dir: '/repo' }
    const author = { name: 'A', email: 'a@example.org' }
    await fs.mkdir('/repo/src', { recursive: true })
    await git.init({ ...repo, defaultBranch: 'main' })
    await fs.writeFile('/repo/readme', 'first\n')
    await fs.writeFile('/repo/src/run.sh', '#!/bin/sh\n', { mode: 0o755 })
    await fs.symlink('readme', '/repo/link')
    for (const filepath of ['readme', 'src/run.sh', 'link']) await git.add({ ...repo, filepath })
    await git.commit({ ...repo, author, message: 'first' })
    await git.branch({ ...repo, ref: 'topic', checkout: true })
    await fs.writeFile('/repo/readme', 'second\n')
    await fs.rm('/repo/link')
    assert.deepEqual(await git.statusMatrix(repo), [
      ['link', 1, 0, 1],
      ['readme', 1, 2, 1],
      ['src/run.sh', 1, 1, 1],
    ])
    await git.add({ ...repo, filepath: 'readme' })
    await git.remove({ ...repo, filepath: 'link' })
    await git.commit({ ...repo, author, message: 'second' })
    await git.checkout({ ...repo, ref: 'main' })
    assert.equal(await fs.readFile('/repo/readme', 'utf8'), 'first\n')
    assert.equal(await fs.readlink('/repo/link'), 'readme')
    assert.equal((await fs.stat('/repo/src/run.sh')).mode & 0o777, 0o755)
    const messages = (await git.log({ ...repo, ref: 'topic' })).map(
      (entry: { commit: { message: string } }) => entry.commit.message,
    )
    assert.deepEqual(messages, ['second\n', 'first\n'])
  }),
)

type Callback = (error: unknown, value?: unknown) => void

/** The form with callbacks, which older tools want. */
const withCallbacks = (fs: XfsPromises): object => ({
  promises: fs,
  ...Object.fromEntries(
    Object.entries(fs).flatMap(([name, method]) => {
      if (typeof method !== 'function') return []
      const call = (...args: unknown[]): void => {
        const done = args.pop() as Callback
        method(...args).then((value: unknown) => done(null, value), done)
      }
      return [[name, call]]
    }),
  ),
})

test('glob and fast-glob: patterns of files in an image', { skip: outsideSkip }, () =>
  withImage(async (fs) => {
    const folder = tempDir()
    const here = (path: string): string => folder + path
    for (const [on, at] of [
      [fs, String],
      [host, here],
    ] as const) {
      await on.mkdir(at('/a/b'), { recursive: true })
      for (const path of ['/a/one.js', '/a/b/two.js', '/a/b/text']) await on.writeFile(at(path), '')
      await on.symlink('b', at('/a/link'))
    }
    for (const [tool, options] of [
      ['glob', {}],
      ['fast-glob', {}],
      ['fast-glob', { followSymbolicLinks: false }],
    ] as const) {
      const find = tool === 'glob' ? load(tool).glob : load(tool)
      const expected = (await find(here('/a/**/*.js'), options)).map((path: string) => path.slice(folder.length))
      assert.ok(expected.length >= 2)
      const found = await find('/a/**/*.js', { ...options, fs: withCallbacks(fs) })
      assert.deepEqual(found.sort(), expected.sort(), tool)
    }
  }),
)
