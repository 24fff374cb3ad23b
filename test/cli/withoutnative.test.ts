import assert from 'node:assert/strict'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { xfskit, xfskitOk } from '../support/cli.ts'
import { judge } from '../support/judge.ts'
import { tempDir } from '../support/temp.ts'

/** As after `npm install --omit=optional`: neither native package is found. */
const hide = `
const Module = require('node:module')
const resolve = Module._resolveFilename
Module._resolveFilename = function (name, ...rest) {
  if (name !== 'koffi' && name !== '@node-rs/crc32') return resolve.call(this, name, ...rest)
  throw Object.assign(new Error('Cannot find module ' + name), { code: 'MODULE_NOT_FOUND' })
}
`

test('without its native packages every kind of command works, and mkfs writes the same bytes', () => {
  const dir = tempDir()
  const hidden = join(dir, 'hide.cjs')
  writeFileSync(hidden, hide)
  const env = { NODE_OPTIONS: `--require=${hidden}` }
  const bare = (...args: string[]) => xfskitOk(args, { env })

  const tree = join(dir, 'tree')
  mkdirSync(tree)
  writeFileSync(join(tree, 'file'), Buffer.alloc(300_000, 'some text'))

  const [image, same] = [join(dir, 'a.img'), join(dir, 'b.img')]
  const uuid = '01234567-89ab-4cde-8f01-23456789abcd'
  const env2 = { SOURCE_DATE_EPOCH: '1700000000', DETERMINISTIC_SEED: '1' }
  const options = ['mkfs', '--size', '300m', '-m', `uuid=${uuid}`]
  xfskitOk([...options, image], { env: { ...env, ...env2 } })
  xfskitOk([...options, same], { env: env2 })
  assert(readFileSync(image).equals(readFileSync(same)))

  bare('put', image, tree, '/tree')
  bare('reflink', image, '/tree/file', '/clone')
  xfskitOk(['write', image, '/clone', '--offset', '4k'], { env, input: 'other' })
  bare('io', image, '/clone', '-c', 'pwrite -q 64k 4k')
  bare('db', image, '-c', 'sb 0', '-c', 'print crc')
  const archive = join(dir, 'out.tar.gz')
  bare('get', image, '/tree', archive)
  bare('mkfs', '--size', '300m', '--from', archive, join(dir, 'c.img'))
  bare('check', join(dir, 'c.img'))
  bare('db', '-x', image, '-c', 'agf 0', '-c', 'write -d freeblks 7')
  assert.notEqual(xfskit(['check', image], { env }).status, 0)
  bare('repair', image)
  bare('check', image)
  const back = join(dir, 'back')
  bare('get', image, '/tree', back)
  assert(readFileSync(join(back, 'file')).equals(readFileSync(join(tree, 'file'))))
  judge(image)
})
