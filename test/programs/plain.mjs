// Plain JavaScript, as a module.
import assert from 'node:assert/strict'
import { mkfs, XfsImage } from 'xfskit'
import { memoryDevice } from 'xfskit/device'

const device = memoryDevice(64 * 2 ** 20)
await mkfs(device)
const image = XfsImage.open(device, { write: true })
image.writeFile('/motd', 'welcome\n')
await image.reflink('/motd', '/issue')
assert.equal(image.readFile('/issue', 'utf8'), 'welcome\n')
assert.deepEqual(image.check().findings.list, [])
image.close()
console.log('done')
