import assert from 'node:assert/strict'
import { join } from 'node:path'
import { before, test } from 'node:test'
import { mkfs, XfsError, XfsImage } from '../../src/index.ts'
import { xfskit } from '../support/cli.ts'
import { judge } from '../support/judge.ts'
import { tempDir } from '../support/temp.ts'

/** A change that fails and is undone leaves an image that counts as unchanged. */
const path = join(tempDir(), 'image')

let clones = 0

/** A file of many extents, in an image that is so full that no further clone of it fits. */
before(async () => {
  await mkfs(path, { imageSize: 64 * 2 ** 20 })
  using image = XfsImage.open(path, { write: true })
  image.writeFile('/many', '')
  for (let i = 0; i < 3000; i++) image.writeFile('/many', 'x', { flag: 'r+', offset: i * 8192 })
  image.mkdir('/dir')
  image.writeFile('/fill', '')
  for (let size = 2 ** 26, done = 0; size >= 4096; ) {
    try {
      image.fallocate('/fill', 'allocate', done, size)
      done += size
    } catch (error) {
      if (!(error instanceof XfsError) || error.code !== 'NOSPC') throw error
      size /= 2
    }
  }
  await assert.rejects(
    async () => {
      for (; clones < 100; clones++) await image.reflink('/many', `/clone${clones}`)
    },
    { code: 'NOSPC' },
  )
})

test('a clone that does not fit into a new file: exit status 1', () => {
  const ran = xfskit(['reflink', path, '/many', '/new'])
  assert.match(ran.stderr, /too little space left/)
  assert.doesNotMatch(ran.stderr, /in part/)
  assert.equal(ran.status, 1)
  const batch = xfskit(['reflink', path, '--batch', '-'], { input: '/many\t/new\n' })
  assert.equal(batch.status, 1, batch.stderr)
  assert.equal(xfskit(['ls', path, '/']).stdout.split('\n').length, clones + 4)
})

test('after a change that stays the image is changed in part', async () => {
  const clone = async (image: XfsImage) => {
    await assert.rejects(image.reflink('/many', '/new'), { code: 'NOSPC' })
    assert.equal(image.changed, false)
    image.chmod('/dir', 0o700)
    image.sync()
    assert.equal(image.changed, true)
    await image.reflink('/many', '/new')
  }
  await assert.rejects(XfsImage.edit(path, {}, clone), { code: 'NOSPC', message: /changed in part/ })
})

test('the image is sound', () => judge(path))
