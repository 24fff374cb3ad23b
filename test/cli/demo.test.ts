import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { xfskit } from '../support/cli.ts'
import { judge } from '../support/judge.ts'
import { withTempDir } from '../support/temp.ts'

test('the demo runs to its end and leaves a sound image', () => {
  withTempDir((folder) => {
    const image = join(folder, 'demo.img')
    const { status, stdout, stderr } = xfskit(['demo', image])
    assert.equal(status, 0, `${stdout}${stderr}`)
    assert.match(stdout, /refcountbt\.free/)
    assert.doesNotMatch(stdout, /✗/)
    judge(image)
    assert.equal(xfskit(['demo', image]).status, 3, 'an image that is there is not overwritten')
  })
})
