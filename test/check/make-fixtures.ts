import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { describe } from '../../src/check/findings.ts'
import type { ProblemId } from '../../src/check/problems.ts'
import { repair } from '../../src/repair/repair.ts'
import { changedPaths, contentsOf } from './contents.ts'
import { bytesDevice, Image } from './image.ts'
import { bases, recipes } from './recipes.ts'

/**
 * Make fixtures/: `node dist/test/check/make-fixtures.js [--base IMAGE] [NAME…]`. The sound image
 * at the start comes from make-base.sh (root, loop devices, mkfs.xfs) or from fixtures/clean.
 */
const root = join(import.meta.dirname, '../../..').replace(/\/\.build$/, '')
const args = process.argv.slice(2)
const base = args[0] === '--base' ? args.splice(0, 2)[1] : undefined

function makeBase(...options: readonly string[]): Buffer {
  const work = mkdtempSync(join(tmpdir(), 'xfskit-base-'))
  try {
    execFileSync(join(root, 'test/check/make-base.sh'), [join(work, 'image'), ...options], { stdio: 'inherit' })
    return readFileSync(join(work, 'image'))
  } finally {
    rmSync(work, { recursive: true })
  }
}

function save(name: string, bytes: Uint8Array, expect: object): void {
  const folder = join(root, 'fixtures', name)
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'image.gz'), gzipSync(bytes, { level: 9 }))
  writeFileSync(join(folder, 'expect.json'), `${JSON.stringify(expect, undefined, 2)}\n`)
}

const sound = base === undefined ? makeBase() : readFileSync(base)
if (args.length === 0)
  save('clean', sound, { name: 'a sound image, which the others are damaged copies of', findings: [], repaired: true })
const names = args.length > 0 ? args : Object.keys(recipes)
for (const name of names as ProblemId[]) {
  const options = bases[name]
  const image = new Image(Uint8Array.from(options ? makeBase(...options) : sound))
  recipes[name](image)
  const { findings } = image.check()
  const ids = [...new Set(findings.list.map(({ id }) => id))].sort()
  const device = bytesDevice(Uint8Array.from(image.bytes))
  const { after, plans } = repair(device)
  const repaired = after.findings.total === 0
  const derived = plans.every((plan) => plan.cores.length + plan.forks.length + plan.names.length === 0)
  const files = contentsOf(bytesDevice(Uint8Array.from(sound)))
  const changed = repaired && !derived ? changedPaths(files, contentsOf(device)) : []
  const first = findings.list.find(({ id }) => id === name)
  const mark = first ? ' ' : '!'
  process.stdout.write(`${mark} ${name}: ${ids.join(' ')}\n`)
  save(name, image.bytes, {
    name: first ? describe(first) : '',
    findings: ids,
    repaired,
    ...(changed.length > 0 && { changed }),
  })
}
