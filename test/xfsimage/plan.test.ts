import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { mkfs, XfsImage } from '../../src/index.ts'
import { judge } from '../support/judge.ts'
import { tempDir } from '../support/temp.ts'

const path = join(tempDir(), 'image')

test('a plan changes nothing, says what it would do, and does it once', async () => {
  await mkfs(path, { imageSize: 64 * 2 ** 20 })
  await XfsImage.edit(path, {}, (image) => {
    for (const name of ['/a', '/b']) image.writeFile(name, 'x'.repeat(50_000))
  })
  const was = readFileSync(path)
  const plan = await XfsImage.plan(path, {}, (image) => image.dedupe('/a', '/b'))
  assert.ok(readFileSync(path).equals(was))
  assert.deepEqual(plan.result, { same: true, bytes: 50_000, mapped: 1 })
  assert.ok(plan.changes.length > 0)
  assert.deepEqual(await plan.apply(), plan.result)
  XfsImage.open(path).close()
  assert.equal(await XfsImage.view(path, {}, (image) => [...image.shares('/a')].length), 1)
  await assert.rejects(plan.apply(), { code: 'STALE', message: /the image was changed/ })
  judge(path)
})

test('a plan for an image that was changed since is refused, and nothing is written', async () => {
  const plan = await XfsImage.plan(path, {}, (image) => image.unlink('/a'))
  await XfsImage.edit(path, {}, (image) => image.chmod('/b', 0o600))
  const was = readFileSync(path)
  await assert.rejects(plan.apply(), { code: 'STALE' })
  assert.ok(readFileSync(path).equals(was))
  await assert.rejects(
    XfsImage.plan(path, {}, (image) => image.unlink('/none')),
    { code: 'NOENT' },
  )
  judge(path)
})
